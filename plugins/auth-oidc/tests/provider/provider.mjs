// A certified OpenID provider on loopback, for tests. Settings come as one line of JSON on stdin; it prints its
// issuer as one line of JSON, and ends when stdin does, so that no test leaves it behind.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';

const lines = createInterface({ input: process.stdin });
const { value } = await lines[Symbol.asyncIterator]().next();
const { port, clients, users, lean, ttl } = JSON.parse(value);
process.stdin.on('end', () => process.exit(0)).on('close', () => process.exit(0));
process.stdin.resume();

// Keys of its own at every start, each named for itself: starting again is a key rotation.
const made = [
  ['RS256', 'rsa', { modulusLength: 2048 }],
  ['ES256', 'ec', { namedCurve: 'P-256' }],
  ['EdDSA', 'ed25519', {}],
];
const keys = made.map(([alg, kind, options]) => {
  const jwk = generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' });
  // An RSA key serves RS256 and PS256 alike, so it does not name one.
  return { ...jwk, ...(kind === 'rsa' ? {} : { alg }), use: 'sig', kid: `${alg}-${randomBytes(4).toString('hex')}` };
});

const server = createServer();
await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients,
  jwks: { keys },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  claims: {
    openid: ['sub'],
    profile: ['name', 'given_name', 'family_name', 'preferred_username', 'groups'],
    email: ['email', 'email_verified'],
  },
  // Lean ID tokens say only who it is, as the specification would have it; the rest is in userinfo.
  conformIdTokenClaims: lean,
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  // Its guard against calling inner addresses would also keep it from calling the tests.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  ttl: { AuthorizationCode: 60, AccessToken: 600, IdToken: 600, Session: 3600, Interaction: 600, Grant: 3600, ...ttl },
  async findAccount(ctx, id) {
    if (!Object.hasOwn(users, id)) return undefined;
    return { accountId: id, claims: async () => ({ ...users[id], sub: id }) };
  },
});
for (const event of ['server_error', 'backchannel.error', 'authorization.error', 'grant.error', 'end_session.error']) {
  provider.on(event, (ctx, error) => console.error(event, error?.error_description ?? error?.message ?? error));
}
server.on('request', provider.callback());
console.log(JSON.stringify({ issuer }));
