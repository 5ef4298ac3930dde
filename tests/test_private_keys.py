"""What environments, secret stores and editors make of a private key: it is read, or named as what it is."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from nexmo_dispatch_async.auth import VonageJWT
from nexmo_dispatch_async.exceptions import ConfigurationError
from tests.support.keys import rsa_key
from tests.test_auth import claims_of, pem_of


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa_key()


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "form",
    [
        "literal line ends",
        "one line",
        "carriage returns",
        "quoted",
        "mark",
        "base64",
        "base64 of der",
        "pkcs1",
    ],
)
@pytest.mark.parametrize("place", ["text", "bytes", "path"])
def test_a_key_from_an_environment_is_read(
    key: rsa.RSAPrivateKey, tmp_path: Path, form: str, place: str
) -> None:
    """What dotenv files, secret stores and editors make of a PEM file is the same key."""
    pem = pem_of(key)
    der = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pkcs1 = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    forms = {
        "literal line ends": pem.replace("\n", "\\n"),
        "one line": " ".join(pem.split("\n")),
        "carriage returns": pem.replace("\n", "\r\n"),
        "quoted": f'"{pem}"',
        "mark": "\ufeff" + pem,
        "base64": base64_of(pem) + "\n",
        "base64 of der": base64.encodebytes(der).decode(),
        "pkcs1": pkcs1.decode().replace("\n", "\\r\\n"),
    }
    given: Any = forms[form]
    if place == "bytes":
        given = given.encode()
    elif place == "path":
        (path := tmp_path / "private.key").write_text(given, encoding="utf-8")
        given = path

    auth = VonageJWT("app", given, subject="me")

    assert claims_of(auth.authorization(0), key)["sub"] == "me"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("empty", "private_key is empty"),
        ("blank", "private_key is empty"),
        ("none", "private_key is empty"),
        ("public", "private_key is a public key; give the private key"),
        ("public der", "private_key is a public key; give the private key"),
        ("public in base64", "private_key is a public key; give the private key"),
        ("encrypted", "private_key is encrypted: take off the password"),
        ("encrypted in base64", "private_key is encrypted: take off the password"),
        ("encrypted der", "private_key is encrypted: take off the password"),
        ("encrypted of old", "private_key is encrypted: take off the password"),
        ("openssh", "private_key is an OpenSSH key: convert it"),
        ("cut off", "neither PEM text nor a PEM file"),
    ],
)
def test_what_is_no_key_to_sign_with_is_named(key: rsa.RSAPrivateKey, form: str, message: str) -> None:
    """The message says what was given instead, and shows nothing of it."""
    locked = serialization.BestAvailableEncryption(b"very-secret")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    encrypted = key.private_bytes(pem, pkcs8, locked).decode()
    openssh = key.private_bytes(pem, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    forms: dict[str, Any] = {
        "empty": "",
        "blank": b" \n",
        "none": None,
        "public": public,
        "public in base64": base64_of(public),
        "public der": "".join(public.splitlines()[1:-1]),
        "encrypted": encrypted.replace("\n", "\\n"),
        "encrypted in base64": base64_of(encrypted),
        "encrypted der": key.private_bytes(serialization.Encoding.DER, pkcs8, locked),
        "encrypted of old": key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, locked),
        "openssh": openssh,
        "cut off": pem_of(key)[:400],
    }

    with pytest.raises(ConfigurationError, match=message) as caught:
        VonageJWT("app", forms[form])

    assert not [line for line in str(forms[form]).splitlines() if len(line) > 9 and line in str(caught.value)]
    assert caught.value.__cause__ is None


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    (path := tmp_path / "private.key").touch()

    with pytest.raises(ConfigurationError, match="private_key: the file is empty"):
        VonageJWT("app", path)


def test_a_certificate_besides_does_no_harm(key: rsa.RSAPrivateKey) -> None:
    """A file may hold both; alone it is named."""
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

    assert (
        claims_of(VonageJWT("app", certificate + pem_of(key)).authorization(0), key)["application_id"]
        == "app"
    )
    with pytest.raises(ConfigurationError, match="private_key is a certificate"):
        VonageJWT("app", certificate)
