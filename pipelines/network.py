"""How calls leave this machine: time-outs, sizes, proxy and certificates.

What the configuration says goes before the variables that other programs go by too. This machine itself is always reached
directly, whatever either says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipelines.redaction import hide

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Network:
    """Limits of a vendor's calls, and the way that they take. Proxies are URLs, empty for none, by the scheme of the vendor's
    address; `proxy_named` and `ca_named` are the setting or variable that says so."""

    call_seconds: int = 300
    vendor_minutes: int = 240
    answer_megabytes: int = 64
    proxies: Mapping[str, str] = field(repr=False, default_factory=dict)
    no_proxy: str = ""
    proxy_named: str = ""
    ca_file: str = ""
    ca_named: str = ""

    @property
    def answer_bytes(self) -> int:
        return self.answer_megabytes * 1_000_000

    def proxy_for(self, url: str) -> str:
        """The proxy by which a URL is reached; empty for this machine and for what NO_PROXY names."""
        from urllib.request import proxy_bypass_environment  # late: it takes its time to load, and `status` calls nobody

        parts = urlsplit(url)
        if is_loopback(parts.hostname or "") or proxy_bypass_environment(parts.netloc.rpartition("@")[2], {"no": self.no_proxy}):
            return ""
        return self.proxies.get(parts.scheme, "")

    def lines(self) -> list[str]:
        """A sentence for each thing that is not as it would be without settings and variables; no credentials."""
        proxy = self.proxies.get("https") or self.proxies.get("http", "")
        through = [f"Vendors are called through the proxy {without_credentials(proxy)} ({self.proxy_named})."] if proxy else []
        return through + ([f"Their certificates are checked against {self.ca_file} ({self.ca_named})."] if self.ca_file else [])


def find_network(chosen: Mapping[str, Any], environment: Mapping[str, str], folder: Path, problems: list[str]) -> Network:
    """The network of the [network] section and of the environment; what is wrong with either is added to `problems`. A path
    of the configuration counts from `folder`, its own."""
    def said(*names: str) -> tuple[str, str]:
        return next(((environment[name], name) for name in names if environment.get(name)), ("", ""))

    (secure, named), (plain, _) = said("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), said("HTTP_PROXY", "http_proxy")
    if chosen["proxy"]:
        secure = plain = chosen["proxy"]
        named = "[network] proxy"
    ca_file, ca_named = (str(folder / chosen["ca_file"]), "[network] ca_file") if chosen["ca_file"] else said(*CA_VARIABLES)
    proxies = {scheme: proxy if "://" in proxy else f"http://{proxy}" for scheme, proxy in (("https", secure), ("http", plain)) if proxy}
    for proxy in proxies.values():
        hide(unquote(urlsplit(proxy).password or ""))
    if "https" in proxies and not _is_proxy(proxies["https"]):
        problems.append(f"{named} is {without_credentials(proxies['https'])!r}; write an http:// or https:// address with its port")
    if chosen["ca_file"]:
        problems += _ca_problems(ca_file, ca_named)
    return Network(chosen["call_seconds"], chosen["vendor_minutes"], chosen["answer_megabytes"], proxies, said("NO_PROXY", "no_proxy")[0],
                   named, ca_file, ca_named)


def reach_this_machine_directly(environment: MutableMapping[str, str]) -> None:
    """Adds this machine to NO_PROXY: Prefect's client and others go by the environment alone."""
    before = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if before.strip() != "*":
        names = [*filter(None, (name.strip() for name in before.split(","))), *LOOPBACK]
        environment["NO_PROXY"] = environment["no_proxy"] = ",".join(dict.fromkeys(names))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: localhost, or an address that is bound to it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_credentials(url: str) -> str:
    """The URL without the user and password that may stand in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_proxy(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _ca_problems(ca_file: str, named: str) -> list[str]:
    import ssl  # late, as it is needed for a setting that few have

    if not Path(ca_file).is_file():
        return [f"{named} is {ca_file!r}: no such file; write the path of a file of certificates (PEM)"]
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        return [f"{named} is {ca_file!r}, which holds no certificates that can be read ({error.strerror or error}); write the path of a "
                "file of certificates (PEM)"]
    return []
