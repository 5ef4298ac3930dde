"""An RSA key, made once a process: to make one takes longer than most tests."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Return a private key of 2048 bits, for all tests whose promise is not about which key it is."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
