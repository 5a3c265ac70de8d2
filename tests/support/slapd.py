"""OpenLDAP's real server, for tests: one that is installed, or Debian's package unpacked into a cache folder."""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CACHE = Path.home() / ".cache" / "folkmoot-tests" / "slapd"
PACKAGES = ("slapd", "libldap-2.5-0", "libodbc2", "libltdl7", "libwrap0", "libsasl2-2", "libnsl2")
BASE = "dc=municipality,dc=example"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{BASE}", "the admin of the directory"
PASSWORD = "correct horse battery staple"


def missing() -> str | None:
    """Why there is no slapd here, in one line; None if there is one."""
    return None if program() else "slapd is not installed, and Debian's package of it could not be fetched"


@cache
def program() -> tuple[str, Path] | None:
    """The server and the folder above its modules and schemas."""
    found = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found:
        return found, Path("/")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        # Tests run in parallel, and one of them unpacks.
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = CACHE / "root"
        if not (root / "usr/sbin/slapd").exists() and not _unpack(root):
            return None
    return str(root / "usr/sbin/slapd"), root


def _unpack(root: Path) -> bool:
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if not apt or not dpkg:
        return False
    with tempfile.TemporaryDirectory() as folder:
        for attempt in range(2):
            got = subprocess.run(
                [apt, "download", *PACKAGES], cwd=folder, capture_output=True, timeout=120, check=False
            )
            if got.returncode == 0:
                break
            if attempt or os.geteuid() != 0:
                return False
            subprocess.run([apt, "update"], capture_output=True, timeout=120, check=False)
        half = root.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        for package in Path(folder).glob("*.deb"):
            subprocess.run([dpkg, "-x", package, half], check=True, capture_output=True)
        half.rename(root)
    return True


class Slapd:
    """One server on loopback with StartTLS and LDAPS, holding `entries` (LDIF). Use as a context manager."""

    def __init__(self, folder: Path, entries: str) -> None:
        self._folder, self._entries = folder, entries
        self.port, self.tls_port = _free_port(), _free_port()
        self.authority = ""
        """PEM of the certificate's authority: itself."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ldap://localhost:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    def __enter__(self) -> Slapd:
        found = program()
        assert found, missing()
        server, root = found
        self._certificate()
        (self._folder / "data").mkdir()
        (self._folder / "slapd.conf").write_text(self._configuration(root))
        (self._folder / "entries.ldif").write_text(self._entries)
        environment = dict(os.environ)
        if root != Path("/"):
            environment["LD_LIBRARY_PATH"] = str(root / "usr/lib" / f"{os.uname().machine}-linux-gnu")
        conf = str(self._folder / "slapd.conf")
        # One binary: by its name it serves, or adds entries.
        added = subprocess.run(
            [server, "-T", "add", "-f", conf, "-l", str(self._folder / "entries.ldif")],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        self._process = subprocess.Popen(
            [server, "-f", conf, "-d", "0", "-h", f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"],
            env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while not (_listens(self.port) and _listens(self.tls_port)):
            assert self._process.poll() is None, "slapd ended"
            assert time.monotonic() < deadline, "slapd does not listen"
            time.sleep(0.05)
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _configuration(self, root: Path) -> str:
        schemas = "\n".join(
            f"include {root / 'etc/ldap/schema' / name}.schema" for name in ("core", "cosine", "inetorgperson")
        )
        return f"""\
{schemas}
modulepath {root / "usr/lib/ldap"}
moduleload back_mdb
TLSCertificateFile {self._folder / "cert.pem"}
TLSCertificateKeyFile {self._folder / "key.pem"}
pidfile {self._folder / "slapd.pid"}
database mdb
maxsize 16777216
suffix "{BASE}"
rootdn "{ADMIN}"
rootpw "{ADMIN_PASSWORD}"
directory {self._folder / "data"}
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{ADMIN}" read by * none
"""

    def _certificate(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.authority = made.public_bytes(serialization.Encoding.PEM).decode()
        (self._folder / "cert.pem").write_text(self.authority)
        (self._folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def person(uid: str, *, name: str = "", mail: str = "", password: str = PASSWORD, ou: str = "people") -> str:
    """LDIF of somebody."""
    return f"""
dn: uid={uid},ou={ou},{BASE}
objectClass: inetOrgPerson
uid: {uid}
cn: {name or uid.title()}
sn: {name or uid.title()}
mail: {mail or f"{uid}@municipality.example"}
userPassword: {password}
"""


def group(name: str, *members: str) -> str:
    """LDIF of a group; members as the beginning of their DN."""
    lines = "\n".join(f"member: {member},{BASE}" for member in members)
    return f"\ndn: cn={name},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {name}\n{lines}\n"


TOP = f"""\
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: Municipality
dc: municipality

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups
"""
