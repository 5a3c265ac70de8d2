"""Reading a JSON body straight from its bytes into a Struct, by a decoder that is made once."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

import msgspec
from litestar.dto import AbstractDTO, DTOConfig, DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from folkmoot.gateway.errors import unreadable


class _Body(AbstractDTO[Any]):
    """What Litestar hands the bytes of a body to; its own way goes through builtins, which costs twice."""

    config = DTOConfig()
    model_type: type[Any] = object
    decoder: ClassVar[msgspec.json.Decoder[Any]]

    def decode_bytes(self, value: bytes) -> Any:
        """Raises `BadRequest`, with the field that is wrong where there is one."""
        try:
            return self.decoder.decode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise unreadable(error) from None

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """Nothing is generated."""

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003
        schema_creator: Any,
    ) -> Reference | Schema:
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    def generate_field_definitions(cls, *_: Any, **__: Any) -> Generator[DTOFieldDefinition, None, None]:
        yield from ()

    @classmethod
    def detect_nested_field(cls, *_: Any, **__: Any) -> bool:
        return False


def body_of(kind: type[msgspec.Struct]) -> type[AbstractDTO[Any]]:
    """`dto` of a handler whose body is a `kind`."""
    return type(f"{kind.__name__}Body", (_Body,), {"decoder": msgspec.json.Decoder(kind)})
