"""What an administrator may enter, and what is said of the rest."""

from __future__ import annotations

import pytest
from folkmoot_auth_oidc import Config
from folkmoot_sdk import ConfigError, config_schema, decode_config

SOUND = {"issuer": "https://id.example.org/realms/town", "client_id": "folkmoot"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"issuer": "https://accounts.google.com"},
        {"issuer": "https://town.eu.auth0.com/"},
        {"issuer": "http://127.0.0.1:3000"},
        {"issuer": "http://localhost:8080/realms/town"},
        {"issuer": "http://[::1]:8080"},
        {"client_secret": None},
        {"client_secret": "made-up", "token_endpoint_auth_method": "client_secret_post"},
        {"scopes": ["openid"]},
        {"scopes": ["openid", "email", "https://town.example/groups"]},
        {"algorithms": ["ES512"]},
        {"clock_skew_seconds": 0},
    ],
)
def test_what_providers_have_can_be_entered(settings):
    assert decode_config(Config, SOUND | settings).issuer


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"issuer": ""}, "issuer is not an address"),
        ({"issuer": "id.example.org"}, "issuer is not an address"),
        ({"issuer": "http://id.example.org"}, "must begin with https"),
        ({"issuer": "http://127.0.0.1.evil.example"}, "must begin with https"),
        ({"issuer": "http://localhost@evil.example"}, "must begin with https"),
        ({"issuer": "ftp://id.example.org"}, "must begin with https"),
        ({"issuer": "javascript:alert(1)"}, "not an address"),
        ({"issuer": "https://ada:pw@id.example.org"}, "neither a user name"),
        ({"issuer": "https://id.example.org#x"}, "nor a fragment"),
        ({"issuer": "https://id.example.org?x=y"}, "cannot have a query"),
        ({"issuer": "https://id.example.org/ x"}, "not an address"),
        ({"issuer": "https://id.example.org\\@evil.example"}, "not an address"),
        ({"issuer": "https://[::1"}, "not an address"),
        ({"issuer": "https://id.example.org:99999"}, "not an address"),
        ({"issuer": "https://" + "x" * 600}, "length <= 500"),
        ({"issuer": "https://id.example.org/t/.well-known/openid-configuration"}, "write 'https://id.example.org/t'"),
        ({"client_id": ""}, "length >= 1"),
        ({"client_id": "a\nb"}, "client_id has characters"),
        ({"scopes": ["profile"]}, "must contain openid"),
        ({"scopes": ["openid", "profile email"]}, "not one scope"),
        ({"scopes": ["openid", ""]}, "not one scope"),
        ({"scopes": "openid"}, "Expected `array`"),
        ({"algorithms": []}, "length >= 1"),
        ({"algorithms": ["none"]}, "Invalid enum value 'none'"),
        ({"algorithms": ["RS256", "HS256"]}, "Invalid enum value 'HS256'"),
        ({"clock_skew_seconds": -1}, ">= 0"),
        ({"clock_skew_seconds": 86400}, "<= 600"),
        ({"prompt": "none"}, "Invalid enum value 'none'"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "give a client_secret"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "Invalid enum value"),
    ],
)
def test_what_cannot_work_or_is_not_safe_is_refused_by_name(settings, words):
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        decode_config(Config, SOUND | settings)


def test_the_form_offers_no_signature_that_proves_nothing():
    fields = config_schema(Config)["$defs"]["Config"]["properties"]
    assert set(fields["algorithms"]["items"]["enum"]).isdisjoint({"none", "HS256", "HS384", "HS512"})
    assert fields["issuer"]["title"] == "Issuer"
