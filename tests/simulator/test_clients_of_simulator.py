"""`Simulator.client()` with credentials that are not the account's."""

import pytest

from nexmo_dispatch_async import KpnOAuth, sms
from nexmo_dispatch_async.exceptions import AuthenticationError, ConfigurationError
from nexmo_dispatch_async.simulator import Simulator


@pytest.mark.parametrize("wrong", ["client_id", "client_secret"])
async def test_a_client_with_wrong_credentials_is_one_argument(wrong: str) -> None:
    """The branch for a secret that was rotated is tested with the real refusal of the token endpoint."""
    async with Simulator() as sim, sim.client(**{wrong: "another"}) as client:
        with pytest.raises(AuthenticationError, match="no access token: 401") as caught:
            await client.send(sms.text("Hi", from_="31647356950", to="999000000001"))

        assert (caught.value.error_class, sim.accepted) == ("configuration", 0)


async def test_credentials_are_given_once() -> None:
    """Of two answers to one question neither is taken in silence."""
    async with Simulator() as sim:
        with pytest.raises(ConfigurationError, match="give no client_id and no client_secret"):
            sim.client(auth=KpnOAuth("id", "secret"), client_secret="another")
