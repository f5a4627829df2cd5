"""Addresses of recordings: which there are, and what fetches them."""

from importlib.util import find_spec

from odynn.errors import listed

ADDRESSES = {"http": ("http", "workflow"), "https": ("http", "workflow"), "s3": ("s3", "s3")}
"""Schemes of the addresses that a recording may have: Snakemake's storage plugin, and the extra it is in."""


def find_address_problem(file: str, kind: str) -> str:
    """Say why an address cannot be fetched by Snakemake's storage plugins, or return an empty string.

    Args:
        file: the address.
        kind: what it is, such as "a recording", for the message.
    """
    scheme, _, rest = file.partition("://")
    host, _, name = rest.partition("/")
    if kind != "a recording" and scheme in ADDRESSES:
        return f"only recordings have addresses. Received: '{file}'. Download {kind} and give its path."
    if scheme not in ADDRESSES or not host or not name or name.endswith("/"):
        return (
            f"expected the address of a file, beginning with {listed(f'{known}://' for known in ADDRESSES)}. "
            f"Received: '{file}'. Correct it, or download the file and give its path."
        )
    if "{" in name or "?" in name:
        return (
            f"expected the address of one file. Received: '{file}'. List the addresses of several files, "
            "without patterns and queries, or download them."
        )
    plugin, extra = ADDRESSES[scheme]
    if find_spec(f"snakemake_storage_plugin_{plugin}") is None:
        return (
            f"{scheme}:// needs Snakemake's plugin snakemake-storage-plugin-{plugin}. Expected it to be "
            f"installed. Received: '{file}' in an environment without it. Install the extra {extra}: "
            f"pip install 'odynn[{extra}]', in a clone python -m pip install -e '.[{extra}]'."
        )
    return ""
