"""Apache: a small config of its own, in the places where Alpine has them, with PHP where it is asked for."""

from __future__ import annotations

import re

from trenza.model.services import Apache

CONFIG_PATH = "/etc/apache2/httpd.conf"
PHP_CONFIG_PATH = "/etc/apache2/conf.d/php-module.conf"
"""Loads PHP; its place in /usr depends on its version, so that every node finds this file there, written by trenza."""

_MODULES = "/usr/lib/apache2/modules"
_BASE = ("mpm_prefork", "authz_core", "dir", "mime", "alias", "setenvif")


def config_text(options: Apache) -> str:
    """The config file. `StartServers` is small: a lab has a few clients, and prefork's children cost memory."""
    if options.config is not None:
        return options.config
    lines = [f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in _BASE]
    if options.php:
        lines.append(f"Include {PHP_CONFIG_PATH}")
    lines += [
        'ServerRoot "/etc/apache2"',
        "ServerName localhost",
        f"Listen {options.listen}",
        "PidFile /run/apache2.pid",
        "Mutex file:/run default",
        "User www-data",
        "Group www-data",
        "StartServers 2",
        "MinSpareServers 2",
        "MaxSpareServers 6",
        "ErrorLog /var/log/apache2/error.log",
        "TypesConfig /etc/mime.types",
        f'DocumentRoot "{options.document_root}"',
        f'<Directory "{options.document_root}">',
        "    Require all granted",
        "</Directory>",
        f"DirectoryIndex {'index.php ' if options.php else ''}index.html",
    ]
    if options.php:
        lines += ['<FilesMatch "\\.php$">', "    SetHandler application/x-httpd-php", "</FilesMatch>"]
    return "\n".join(lines) + "\n"


def listened_port(text: str) -> int | None:
    """A TCP port that a config listens to on every address, so that the loopback shows it; None if there is none."""
    found = re.search(r"^\s*Listen\s+(?:0\.0\.0\.0:|\[::\]:|\*:)?(\d+)\s*$", text, re.MULTILINE | re.IGNORECASE)
    return None if found is None else int(found[1])
