"""From which address a connection comes: a limit per address must neither count all devices behind
a proxy as one, nor believe what a stranger writes."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from connectors.environment import SettingsError

FORWARDED = "x-forwarded-for"
_HEADER = f"\r\n{FORWARDED}:".encode()

Networks = tuple[IPv4Network | IPv6Network, ...]


def trusted_networks(setting: str) -> Networks:
    """MESSENGER_TRUSTED_PROXIES. Raises SettingsError."""
    try:
        return tuple(ip_network(part.strip()) for part in setting.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"MESSENGER_TRUSTED_PROXIES: {error}") from None


def client_address(trusted: Networks, peer: str, forwarded: str) -> str:
    """The last address that no trusted proxy has. A proxy adds the address of its client at the
    end; the addresses before that are hearsay."""
    address = peer
    for named in reversed(forwarded.split(",")):
        if not _is_in(address, trusted):
            break
        try:
            address = str(ip_address(named.strip()))
        except ValueError:
            break
    return address


def forwarded_of(request: bytearray) -> str:
    """The header of a request that has not been parsed; empty without one."""
    start = request.lower().find(_HEADER)
    if start < 0:
        return ""
    start += len(_HEADER)
    return request[start : request.find(b"\r\n", start)].decode("latin-1")


def _is_in(address: str, networks: Networks) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
