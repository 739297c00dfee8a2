"""TLS between processes: the certificate that a server shows, its renewal while others are
connected, and whom a client trusts."""

import logging
import ssl

log = logging.getLogger(__name__)


class ServerTls:
    """`certificate` and `key` are PEM files; the first may hold the chain. Raises ValueError if
    they cannot be used."""

    def __init__(self, certificate: str, key: str) -> None:
        self._files = certificate, key
        self.context = self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def reload(self) -> None:
        """Read the files again. Connections that are open keep what they have; if the files cannot
        be used, so do new ones."""
        try:
            # A file that is half written would leave this one without a key.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except ValueError as error:
            log.error("the old certificate stays: %s", error)
        else:
            log.info("read the certificate in %s again", self._files[0])

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(*self._files)
        except OSError as error:  # SSLError is one, too
            raise ValueError(f"{' and '.join(self._files)}: {error}") from None
        return context


def server_tls(certificate: str, key: str) -> ServerTls | None:
    """None without files. Raises ValueError if one is missing, or they cannot be used."""
    if bool(certificate) != bool(key):
        raise ValueError("a certificate needs its key, and a key its certificate")
    return ServerTls(certificate, key) if certificate else None


def client_tls(authority: str) -> ssl.SSLContext | None:
    """Trusts what the authority in the PEM file has signed, and nothing else; None without one.
    Raises ValueError if the file cannot be used."""
    if not authority:
        return None
    try:
        context = ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ValueError(f"{authority}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
