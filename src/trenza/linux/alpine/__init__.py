"""What lab sheets written for Alpine expect to find in a node, over a Debian's programs: apk, /etc/init.d, places.

The texts (in this folder) are put into the skeleton that every node starts from. What differs from Alpine is said in
docs/alpine.md.
"""

from __future__ import annotations

from glob import glob
from pathlib import Path
from typing import Final

from trenza.model.services import Apache
from trenza.services import apache, haproxy

COMMANDS: Final = ("apk", "rc-service", "rc-update", "vi", "sudo", "lxc")
PHP_MODULES: Final = ("/usr/lib/apache2/modules/libphp*.so", "/usr/lib64/httpd/modules/libphp*.so")


def files() -> dict[str, tuple[str, int]]:
    """Files of the skeleton: text and mode by path."""
    php = next((path for pattern in PHP_MODULES for path in sorted(glob(pattern), reverse=True)), None)
    placed = {
        **{f"/etc/init.d/{name}": _program("init") for name in ("keepalived", "haproxy", "apache2")},
        "/etc/init.d/syslog": _program("syslog"),
        **{
            f"/opt/trenza/bin/{name}": _program(name)
            for name in ("apk", "rc-service", "rc-update", "vi", "sudo", "lxc")
        },
        haproxy.CONFIG_PATH: (haproxy.BASE, 0o644),
        apache.CONFIG_PATH: (apache.config_text(Apache()), 0o644),
        "/var/www/localhost/htdocs/index.html": ("<html><body><h1>It works!</h1></body></html>\n", 0o644),
    }
    if php is not None:
        placed[apache.PHP_CONFIG_PATH] = (f"LoadModule php_module {php}\n", 0o644)
    return placed


def _program(name: str) -> tuple[str, int]:
    return Path(__file__).with_name(f"{name}.sh").read_text(), 0o755


DIRECTORIES: Final = (
    "var/www/localhost/htdocs", "var/log/apache2", "etc/keepalived", "etc/haproxy", "etc/apache2/conf.d", "etc/init.d",
    "var/lib/misc",
)  # fmt: skip
"""Directories of the skeleton that the daemons want."""
