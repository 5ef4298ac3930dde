"""What the name of a host tells: is it this machine, or the service itself?"""

from __future__ import annotations

from ipaddress import ip_address

__all__ = ["is_loopback", "is_of_the_service"]

# Contract 1.1.
_OF_THE_SERVICE = ("kpn.com", "nexmo.com", "vonage.com")


def is_loopback(host: str) -> bool:
    """Return whether what is sent to `host` stays on this machine, by its name or address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    # Before Python 3.13 an IPv4 address written as IPv6 is not looked into.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_of_the_service(host: str) -> bool:
    """Return whether `host` is KPN's or Vonage's own."""
    name = host.lower().rstrip(".")
    return any(name == domain or name.endswith(f".{domain}") for domain in _OF_THE_SERVICE)
