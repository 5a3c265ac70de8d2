"""Mail with its attachments for Folkmoot."""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot_sdk import CorruptFile, Parsed, ParserSpec, Source, UnsupportedFile, hookimpl

from folkmoot_parser_mail.sniff import sniff_mail, sniff_outlook

FOLKMOOT_SDK_API = 1


def _parse(source: Source) -> Iterator[Parsed]:
    from folkmoot_parser_mail.mail import parse

    return parse(source)


def _refuse(source: Source) -> Iterator[Parsed]:
    if not source.size:
        raise CorruptFile(f"{source.name} is empty: save the message again")
    raise UnsupportedFile(
        f"{source.name} is a message in Outlook's own format, which is not read here: open it and save it as .eml, "
        "or drag it into a mail program that does"
    )


@hookimpl
def register_parsers() -> list[ParserSpec]:
    """Mail as it is sent, and the format of one program, which is refused with advice."""
    return [
        ParserSpec(
            kind="mail",
            title="Mail",
            media_types=("message/rfc822",),
            suffixes=(".eml",),
            parse=_parse,
            sniff=sniff_mail,
        ),
        ParserSpec(
            kind="outlook",
            title="Outlook message (refused with advice)",
            media_types=("application/vnd.ms-outlook",),
            suffixes=(".msg",),
            parse=_refuse,
            sniff=sniff_outlook,
        ),
    ]
