"""`folkmoot receipt`: whether the receipt of an answer is good, with nothing at hand but the file."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from folkmoot.commands.reach import DATA, opened

if TYPE_CHECKING:
    from folkmoot.conversations.receipts.statement import Key, Statement

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def receipt() -> None:
    """Check receipts of answers, and export the keys to check them with.

    \b
    Examples:
      folkmoot receipt verify receipt.json --keys receipt-keys.json
      folkmoot receipt keys --data ./data > receipt-keys.json
    """


@receipt.command()
@click.argument("file", type=FILE)
@click.option("--key", "key_text", default=None, metavar="PUBLIC_KEY",
              help="The key that must have signed it: base64 or hex.")  # fmt: skip
@click.option("--keys", "keys_file", type=FILE, default=None,
              help="One of these must have signed it: a file of `folkmoot receipt keys`, or of the address "
              "/.well-known/receipt-keys.json.")  # fmt: skip
@click.option("--answer", type=FILE, default=None, help="The answer's text must be exactly what is in this file.")
@click.option("--tenant", type=click.UUID, default=None, help="Id of the organisation that it must be of.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict, and the statement if it is good, as JSON.")
def verify(
    file: Path, key_text: str | None, keys_file: Path | None, answer: Path | None, tenant: UUID | None, as_json: bool
) -> None:
    """Check that FILE is a receipt that was signed as it stands, offline and without settings.

    Ends with status 1 if it is not, and says what is wrong. Without --key or --keys it can only say that nothing was
    changed since somebody signed it, not who.

    \b
    Examples:
      folkmoot receipt verify receipt.json --keys receipt-keys.json
      folkmoot receipt verify receipt.json --key hQ7n… --answer answer.txt
    """
    from folkmoot.conversations.receipts import statement as said

    try:
        trusted = _trusted(key_text, keys_file)
        found = said.verify(_content(file, said.MOST_BYTES), trusted)
        if tenant is not None and found.tenant_id != tenant:
            raise said.Refused(f"it is a receipt of the organisation {found.tenant_id}, not of {tenant}")
        matched = None if answer is None else _matched(found, _content(answer, said.MOST_BYTES))
    except said.Refused as refusal:
        if as_json:
            click.echo(json.dumps({"good": False, "why": str(refusal)}, ensure_ascii=False))
        click.echo(f"folkmoot: NOT GOOD: {refusal}", err=True)
        sys.exit(1)
    if as_json:
        verdict = {"good": True, "signer_known": trusted is not None, "text": matched}
        click.echo(said.canonical({**verdict, "statement": found}).decode())
    else:
        _tell(found, matched)
    if trusted is None:
        click.echo(
            "folkmoot: WARNING: checked with the key in the file itself. That proves that nothing was changed since it "
            "was signed, and NOT who signed it: give --key or --keys.",
            err=True,
        )


@receipt.command()
@DATA
def keys(data: Path | None) -> None:
    """Print the public keys that this installation signs and ever signed receipts with, as a JWK set.

    Hand the file to whoever checks receipts.

    \b
    Example: folkmoot receipt keys --data ./data > receipt-keys.json
    """

    async def run() -> list[dict[str, str]]:
        from folkmoot.conversations.receipts.issue import keys as all_keys

        async with opened(data) as app:
            return [key.jwk() for key in all_keys(app.keyring)]

    click.echo(json.dumps({"keys": asyncio.run(run())}, indent=2))


def _trusted(key_text: str | None, keys_file: Path | None) -> list[Key] | None:
    from folkmoot.conversations.receipts import statement as said

    found: list[Key] = []
    if key_text is not None:
        found.append(said.read_key(key_text))
    if keys_file is not None:
        found += said.read_keys(_content(keys_file, said.MOST_BYTES))
    return found or None


def _content(file: Path, most: int) -> bytes:
    """At most one byte more than may be, whatever the size of the file."""
    try:
        with file.open("rb") as opened_file:
            return opened_file.read(most + 1)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror}") from error


def _matched(found: Statement, text: bytes) -> str:
    """Which text of the answer this is. Raises `Refused`."""
    from folkmoot.conversations.receipts import statement as said

    # An editor ends a file with a line break that the answer has not.
    hashes = [said.sha256(text), said.sha256(text.removesuffix(b"\n")), said.sha256(text.removesuffix(b"\r\n"))]
    texts = found.texts()
    if texts[-1] in hashes:
        return "current"
    if any(item in hashes for item in texts):
        raise said.Refused("the text is one that this answer once had: a person has edited it since")
    raise said.Refused("the text is not that of the answer: its hash is another one")


def _tell(found: Statement, matched: str | None) -> None:
    usage, model = found.usage, found.model
    place = f", in {model.region}" if model and model.region else ""
    rows: list[tuple[str, Any]] = [
        ("receipt", f"number {found.number} of the answer {found.message_id}"),
        ("organisation", found.tenant_id),
        ("asked", f"{found.asked_at:%Y-%m-%d %H:%M:%S} UTC by the user {found.asked_by}"),
        ("answered", f"{found.status}{f' ({found.error})' if found.error else ''}, {found.finished_at}"),
        ("assistant", f"{found.assistant.id}, version {found.assistant.version}" if found.assistant else "deleted"),
        ("model", f"{model.name} by {model.provider}{place}" if model else "none"),
        ("sources", f"{len(found.passages)} passages, {len(found.citations)} citations"),
        ("tools", f"{len(found.tools)} calls"),
        ("usage", f"{usage.input_tokens} tokens in, {usage.output_tokens} out, "
                  f"{usage.cost_micros} millionths of {usage.currency or 'its currency'}"),
        ("classes", ", ".join(item.name for item in found.classification) or "none"),
        ("edits", f"{len(found.edits)} by people" if found.edits else "none"),
    ]  # fmt: skip
    click.echo("good")
    for name, value in rows:
        click.echo(f"  {name:13} {_shown(str(value))}")
    if matched is not None:
        click.echo("  the text is that of the answer")


def _shown(text: str) -> str:
    """A signed name may still hold what moves a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)
