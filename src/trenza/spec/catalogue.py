"""The catalogue: every code a lab file can earn and every hint, in English and Spanish.

Codes are stable: none changes its meaning, and none is used again for another.
"""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """A problem's sentence in two languages, and for the reference: what to do about it."""

    english: str
    spanish: str
    cure: str


CODES: dict[str, Code] = {
    # the text
    "E001": Code(
        "the file is not UTF-8: byte {byte}",
        "el fichero no es UTF-8: byte {byte}",
        "Save it as UTF-8.",
    ),
    "E002": Code(
        "control character {character}",
        "carácter de control {character}",
        "Remove it; a lab file is text.",
    ),
    "E003": Code(
        "this is not YAML: {problem}",
        "esto no es YAML: {problem}",
        "Mend the syntax; mostly an indentation, a bracket or a missing quote.",
    ),
    "E004": Code(
        "a second document begins here",
        "aquí empieza un segundo documento",
        "One lab, one file, one document: remove `---`.",
    ),
    "E005": Code("the file is empty", "el fichero está vacío", "Write at least `lab: NAME`."),
    "E006": Code(
        "a lab file is a mapping",
        "un fichero de laboratorio es un diccionario",
        "Begin with `lab: NAME`.",
    ),
    "E007": Code(
        "merge keys (<<) are not used here",
        "aquí no se usan claves de mezcla (<<)",
        "Use `templates:` and `use:`.",
    ),
    "E008": Code(
        "tags such as {tag} are not used here",
        "aquí no se usan etiquetas como {tag}",
        "Remove the tag, or quote the value if it begins with `!`.",
    ),
    "E009": Code(
        "alias *{name} of an anchor that is not there",
        "alias *{name} de un ancla que no existe",
        "Quote a value that begins with `*`.",
    ),
    "E010": Code("too large: more than {most}", "demasiado grande: más de {most}", "Use `each:` and `templates:`."),
    "E011": Code(
        "nested more than {most} levels deep",
        "anidado más de {most} niveles",
        "No lab needs that; look for a bracket too many.",
    ),
    "E012": Code(
        "a key is a mapping or a list",
        "una clave es un diccionario o una lista",
        "Keys are plain words; quote values that hold braces.",
    ),
    "E013": Code("alias *{name} contains itself", "el alias *{name} se contiene a sí mismo", "Write the value out."),
    "E015": Code(
        "'{name}' is given twice; first in line {line}",
        "'{name}' se da dos veces; la primera en la línea {line}",
        "Keep one of them, or join what they hold.",
    ),
    # shapes
    "E014": Code(
        "unknown {kind} '{name}' in {where}",
        "{kind} '{name}' no existe en {where}",
        "Write a name that is there, or declare it.",
    ),
    "E016": Code("expected {what}, not {got}", "se esperaba {what}, no {got}", "Write what is expected."),
    "E017": Code(
        "{got} is out of range: {low} to {high}",
        "{got} está fuera de rango: de {low} a {high}",
        "Write a number of the range; STP timers have the kernel's own.",
    ),
    "E018": Code(
        "'{got}' is none of the words for this",
        "'{got}' no es ninguna de las palabras posibles",
        "Use one of the words.",
    ),
    "E019": Code(
        "unknown key '{name}' in {kind}", "clave desconocida '{name}' en {kind}", "Use a key that is known there."
    ),
    "E020": Code("'{name}' cannot name {what}", "'{name}' no puede nombrar {what}", "Use other characters."),
    "E021": Code(
        "interface name '{name}' has {length} bytes; {most} is the most",
        "el nombre de interfaz '{name}' tiene {length} bytes; el máximo es {most}",
        "Shorten it: the kernel has no room for more.",
    ),
    "E022": Code(
        "'{name}' is reserved and cannot name {what}",
        "'{name}' está reservado y no puede nombrar {what}",
        "Use another name.",
    ),
    "E023": Code(
        "there is a node '{name}' already, in line {line}",
        "ya hay un nodo '{name}', en la línea {line}",
        "Nodes and the copies of `each` have names of their own: rename one.",
    ),
    "E024": Code("'{got}' is not {what}", "'{got}' no es {what}", "Write addresses as `10.0.0.1` or `10.0.0.1/24`."),
    "E025": Code(
        "address {got} lacks its prefix length",
        "a la dirección {got} le falta la longitud de prefijo",
        "Write it as `10.0.0.1/24`.",
    ),
    "E026": Code(
        "{got} is an address, not a network: it has host bits",
        "{got} es una dirección, no una red: tiene bits de host",
        "Write the network's own address.",
    ),
    "E027": Code("'{got}' is not a MAC address", "'{got}' no es una dirección MAC", "Write it as `02:00:00:00:00:01`."),
    "E028": Code(
        "{got} cannot be the MAC address of an interface",
        "{got} no puede ser la dirección MAC de un interfaz",
        "Take one whose second digit is even and that is not all zeros.",
    ),
    "E029": Code("{kind} needs '{name}'", "{kind} necesita '{name}'", "Add the key."),
    "E030": Code(
        "unknown parameter '{name}'", "parámetro desconocido '{name}'", "Declare it below `parameters:`; `$$` is a `$`."
    ),
    "E031": Code(
        "'{one}' and '{other}' exclude each other",
        "'{one}' y '{other}' se excluyen",
        "Keep one of them.",
    ),
    "E032": Code("each: {got} names no copies", "each: {got} no nombra copias", "Write `1..8` or `[a, b, c]`."),
    "E033": Code("more than {most} copies", "más de {most} copias", "Make fewer."),
    "E034": Code(
        "{network} has no address number {index}: it has {count}",
        "{network} no tiene dirección número {index}: tiene {count}",
        "Take a larger network, or count from 0.",
    ),
    "E035": Code("template '{name}' uses itself", "la plantilla '{name}' se usa a sí misma", "Break the circle."),
    # plugs
    "E036": Code(
        "'{name}' can mean two things: {what}",
        "'{name}' puede significar dos cosas: {what}",
        "Rename one of them.",
    ),
    "E037": Code(
        "nothing called '{name}' for {nic} to plug into",
        "no hay nada llamado '{name}' a lo que conectar {nic}",
        "Name a switch, a cable, a bridge of the same host, `NODE.NIC`, `host` or `nat`.",
    ),
    "E038": Code(
        "{name} lies in a host itself: `to: host` is for containers",
        "{name} está en un host: `to: host` es para contenedores",
        "Plug it into a bridge, a switch, a cable or another NIC.",
    ),
    "E039": Code(
        "cable {name} has its two ends already: {ends}",
        "el cable {name} ya tiene sus dos extremos: {ends}",
        "Use a switch to join three.",
    ),
    "E040": Code(
        "{nic} is plugged into {other} already",
        "{nic} ya está conectado a {other}",
        "A NIC has one plug: use another NIC, or a switch.",
    ),
    "E041": Code("{name} leads to itself", "{name} lleva a sí mismo", "Name another interface."),
    "E042": Code(
        "{nic} has no far end that `peer` could describe",
        "{nic} no tiene otro extremo que `peer` pueda describir",
        "`peer` is for `to: host`, bridges and switches; elsewhere describe the other NIC.",
    ),
    "E043": Code(
        "{port} is a port of {one} already, and cannot be one of {other}",
        "{port} ya es puerto de {one} y no puede serlo de {other}",
        "An interface belongs to one bridge.",
    ),
    "E044": Code(
        "bridge {name} cannot be a port of bridge {bridge}",
        "el puente {name} no puede ser puerto del puente {bridge}",
        "Join two bridges with a cable or a veth.",
    ),
    "E045": Code(
        "there is an interface '{name}' in {node} already, in line {line}",
        "ya hay un interfaz '{name}' en {node}, en la línea {line}",
        "Rename one; the far end of a veth is renamed with `peer:`.",
    ),
    # layer 3
    "E046": Code(
        "next hop {via} is on no subnet of {node}",
        "el siguiente salto {via} no está en ninguna subred de {node}",
        "Take an address of a connected subnet, or say `dev` and `onlink: true`.",
    ),
    "E047": Code(
        "the route to {to} does not say enough",
        "la ruta a {to} no dice lo suficiente",
        "A route needs `via` or `dev`; `onlink` and link-local next hops need both.",
    ),
    "E048": Code(
        "{one} is IPv{version} where the rest is IPv{other}",
        "{one} es IPv{version} y lo demás IPv{other}",
        "Use one family.",
    ),
    "E049": Code(
        "next hop {via} is {node} itself",
        "el siguiente salto {via} es el propio {node}",
        "Name the router's address.",
    ),
    "E050": Code(
        "'{got}' is not a sysctl below net.",
        "'{got}' no es un sysctl de net.",
        "Only `net.` belongs to a node; put dots between the words.",
    ),
    "E051": Code(
        "no file can be put at '{got}'",
        "no se puede poner un fichero en '{got}'",
        "Write an absolute path without `..`, outside /proc, /sys and /dev.",
    ),
    "E052": Code(
        "'{got}' is not a file below the lab's directory",
        "'{got}' no es un fichero del directorio del laboratorio",
        "Write a relative path without `..`.",
    ),
    "E053": Code(
        "service '{name}' is of no kind that there is; kinds: {kinds}",
        "el servicio '{name}' no es de ninguna clase que haya; clases: {kinds}",
        "Write `run: [argv…]`, or the name of a daemon that trenza knows.",
    ),
    "E054": Code(
        "a check is a mapping with one kind of question",
        "una comprobación es un diccionario con una clase de pregunta",
        "Write `{ping: {from: …, to: …}}` or another kind.",
    ),
    "E055": Code(
        "there is a checkpoint '{name}' already, in line {line}",
        "ya hay un punto de control '{name}', en la línea {line}",
        "Rename one.",
    ),
    "E056": Code(
        "'{got}' is not a code that can be accepted",
        "'{got}' no es un código que se pueda aceptar",
        "Accept warnings and notes; errors cannot be built.",
    ),
    "E057": Code(
        "{name} has VNI {vni} as {other} does, at the same UDP port",
        "{name} tiene el VNI {vni}, como {other}, en el mismo puerto UDP",
        "A node has one tunnel end for each VNI and port.",
    ),
    "E058": Code(
        "{name} has {size} ports; the kernel allows {most}",
        "{name} tiene {size} puertos; el kernel permite {most}",
        "Spread them over several bridges or switches.",
    ),
    "E059": Code(
        "'{name}' is the name of several nodes",
        "'{name}' es el nombre de varios nodos",
        "Write the full name, `host/container`.",
    ),
    # slips of the pen
    "E060": Code(
        "a colon is missing after '{name}'",
        "faltan dos puntos después de '{name}'",
        "Write `KEY: VALUE`, or `KEY:` with its mapping on the lines below.",
    ),
    "E061": Code(
        "a space is missing after the colon",
        "falta un espacio después de los dos puntos",
        "Write `KEY: VALUE`: without the space, `KEY:VALUE` is one word.",
    ),
    "E062": Code(
        "the quote that opens here is not closed",
        "las comillas que se abren aquí no se cierran",
        "Write the same quote where the value ends.",
    ),
    # services
    "E064": Code(
        "{name} has no IPv4 address by which the cluster reaches it",
        "{name} no tiene una dirección IPv4 por la que el clúster lo alcance",
        "Give one of its NICs an address.",
    ),
    "E065": Code(
        "the cluster's {name} need an IPv4 network larger than a /24",
        "{name} del clúster necesita una red IPv4 mayor que una /24",
        "Write one such as 172.16.0.0/16.",
    ),
    "E066": Code(
        "the network {one} overlaps {other}",
        "la red {one} se solapa con {other}",
        "Pods, services and the lab's own networks lie apart.",
    ),
    "E067": Code(
        "{option} is asked of {kind} only",
        "{option} solo se pregunta de {kind}",
        "Ask for another `kind`, or leave it out.",
    ),
    "E068": Code(
        "this lab has no Kubernetes cluster",
        "este laboratorio no tiene un clúster de Kubernetes",
        "Say `cluster: {master: …, nodes: […]}`.",
    ),
    "E063": Code(
        "{path} is written by the service {service}",
        "{path} lo escribe el servicio {service}",
        "Give its content as the service's `config:`, or remove the file.",
    ),
    # warnings
    "W001": Code(
        "{name} closes a loop of bridges without STP",
        "{name} cierra un bucle de puentes sin STP",
        "Give one bridge of the loop `stp: true`, or accept a broadcast storm.",
    ),
    "W002": Code(
        "{nic} is a port of {bridge} and has an address",
        "{nic} es puerto de {bridge} y tiene dirección",
        "Give the address to the bridge: a port's own is not reached reliably.",
    ),
    "W003": Code(
        "{one} and {other} both have {ip}",
        "{one} y {other} tienen ambos {ip}",
        "Give each its own address.",
    ),
    "W004": Code(
        "{one} and {other} both have MAC {mac}", "{one} y {other} tienen ambos la MAC {mac}", "Give each its own."
    ),
    "W005": Code(
        "larger packets than tunnel {name} carries ({mtu} bytes): {names}",
        "paquetes mayores de los que lleva el túnel {name} ({mtu} bytes): {names}",
        "Give the inner interfaces the tunnel's MTU.",
    ),
    "W006": Code(
        "STP timers of {bridge}: 2·({delay}−1) ≥ {age} ≥ 2·({hello}+1) does not hold",
        "temporizadores STP de {bridge}: no se cumple 2·({delay}−1) ≥ {age} ≥ 2·({hello}+1)",
        "Keep 802.1D's 2·(forward_delay−1) ≥ max_age ≥ 2·(hello_time+1), or the tree may loop while it changes.",
    ),
    "W007": Code(
        "nobody has the next hop {via}", "nadie tiene el siguiente salto {via}", "Give it to a node, or mend the route."
    ),
    "W008": Code(
        "{node} is a next hop of {user} but does not forward",
        "{node} es siguiente salto de {user} pero no reenvía",
        "Add `forwarding: true`.",
    ),
    "W009": Code(
        "{ip} is the address of network {network} itself",
        "{ip} es la dirección de la propia red {network}",
        "Take another address of the network.",
    ),
    "W010": Code(
        "nothing is plugged into cable {name}",
        "nada está conectado al cable {name}",
        "Plug something in, or remove it.",
    ),
    "W011": Code(
        "no interface of this lab has the tunnel end {ip}",
        "ningún interfaz de este laboratorio tiene el extremo de túnel {ip}",
        "Write the other tunnel end's `local`.",
    ),
    "W012": Code(
        "no interface of {node} has the tunnel's own address {ip}",
        "ningún interfaz de {node} tiene la dirección {ip} del túnel",
        "Write an address of the same node.",
    ),
    "W013": Code(
        "null removes '{name}', but there is none",
        "null quita '{name}', pero no existe",
        "Write `{}` for an empty one, or mend the name.",
    ),
    "W014": Code(
        "{nic} has an IPv6 address and an MTU of {mtu}: below 1280 Linux has no IPv6",
        "{nic} tiene dirección IPv6 y MTU {mtu}: por debajo de 1280 Linux no tiene IPv6",
        "Raise the MTU.",
    ),
    "W015": Code(
        "tunnel {name} has an MTU of {mtu}, its underlay carries {most}",
        "el túnel {name} tiene MTU {mtu}, por debajo caben {most}",
        "Lower it, or raise the MTU below.",
    ),
    "W016": Code(
        "{ip} is the broadcast address of {network}",
        "{ip} es la dirección de difusión de {network}",
        "Take another address of the network.",
    ),
    "W017": Code(
        "one end of cable {name} is free", "un extremo del cable {name} está libre", "Plug it in, or accept it."
    ),
    "W018": Code(
        "this machine had no etcd when the lab was made: the API server keeps the cluster's objects itself",
        "esta máquina no tenía etcd al crear el lab: el servidor de API guarda él mismo los objetos del clúster",
        "Install etcd and build the lab anew, or write `store: embedded`.",
    ),
    # notes
    "N001": Code(
        "parameter '{name}' is not used", "el parámetro '{name}' no se usa", "Remove it, or write `$name` somewhere."
    ),
    "N002": Code("template '{name}' is not used", "la plantilla '{name}' no se usa", "Remove it, or `use:` it."),
    "N003": Code("{name} is plugged into nothing", "{name} no está conectado a nada", "Write `to:`."),
    "N004": Code("accept: {accepted} silences nothing", "accept: {accepted} no silencia nada", "Remove it."),
}

HINTS: dict[str, tuple[str, str]] = {
    "did_you_mean": ("did you mean {near}? {kind}: {names}", "¿quería decir {near}? {kind}: {names}"),
    "did_you_mean_one": ("did you mean {near}?", "¿quería decir {near}?"),
    "get_etcd": (
        "no etcdctl, and no member to lose; for etcd: apt install etcd-server etcd-client, then trenza up --reset",
        "no hay etcdctl ni miembros que perder; para etcd: apt install etcd-server etcd-client y trenza up --reset",
    ),
    "there_are": ("{kind}: {names}", "{kind}: {names}"),
    "none_there": ("there are no {kind}", "no hay {kind}"),
    "write": ("write {text}", "escriba {text}"),
    "write_one_of": ("write one of: {names}", "escriba uno de: {names}"),
    "start_small": (
        "begin with: lab: NAME, then hosts: and switches:",
        "empiece con: lab: NOMBRE, después hosts: y switches:",
    ),
    "without_tag": ("quote a value that begins with '!'", "ponga entre comillas un valor que empieza por '!'"),
    "quote_star": (
        'a value that begins with * needs quotes: "*{text}"',
        'un valor que empieza por * va entre comillas: "*{text}"',
    ),
    "quote_colons": (
        'a value that begins with : needs quotes here: "::1/64"',
        'aquí un valor que empieza por : va entre comillas: "::1/64"',
    ),
    "quote_braces": (
        'a value that holds braces or brackets needs quotes here: "${{name}}", "10.0.0.0/16[$n]"',
        'aquí un valor con llaves o corchetes va entre comillas: "${{name}}", "10.0.0.0/16[$n]"',
    ),
    "quote_first": (
        "a value that begins with {character} needs quotes",
        "un valor que empieza por {character} va entre comillas",
    ),
    "quote_or_indent": (
        "quote a value that holds ': ', or mend the indentation",
        "ponga entre comillas un valor que contiene ': ', o corrija el sangrado",
    ),
    "close_or_comma": ("a comma or a closing bracket is missing", "falta una coma o cerrar un paréntesis"),
    "close_quote": ("write {quote} where the value ends", "escriba {quote} donde acaba el valor"),
    "quote_inside": (
        "a quote ends the value here; put the other kind of quotes around it",
        "unas comillas acaban aquí el valor; póngalo entre comillas de la otra clase",
    ),
    "known_escapes": (
        "between \" quotes a backslash is written \\\\, or use ' quotes",
        "entre comillas \" una barra invertida se escribe \\\\, o use comillas '",
    ),
    "no_hyphens": (
        "no hyphens inside brackets; names that hold something are a mapping: {{NAME: {{…}}, NAME: {{…}}}}",
        "sin guiones entre corchetes; los nombres con contenido son un diccionario: {{NOMBRE: {{…}}, NOMBRE: {{…}}}}",
    ),
    "mapping_not_list": (
        "not a list: without hyphens or brackets around, write {text}",
        "no una lista: sin guiones ni corchetes alrededor, escriba {text}",
    ),
    "indent": ("keys of one mapping begin in one column", "las claves de un diccionario empiezan en la misma columna"),
    "no_tabs": ("indent with spaces, not with tabs", "use espacios para el sangrado, no tabuladores"),
    "use_templates": ("write templates: {{NAME: …}} and use: NAME", "escriba templates: {{NOMBRE: …}} y use: NOMBRE"),
    "label_rule": (
        "small letters, digits and hyphens, beginning with a letter or digit, at most 63",
        "minúsculas, dígitos y guiones, empezando por letra o dígito, como mucho 63",
    ),
    "lab_rule": (
        "small letters, digits and hyphens, beginning with a letter or digit, at most 40",
        "minúsculas, dígitos y guiones, empezando por letra o dígito, como mucho 40",
    ),
    "nic_rule": (
        "letters, digits, and _ . + ~ - after the first",
        "letras, dígitos, y _ . + ~ - después del primero",
    ),
    "name_rule": ("letters, digits, and _ . - after the first", "letras, dígitos, y _ . - después del primero"),
    "parameter_rule": ("letters, digits and _, beginning with no digit", "letras, dígitos y _, sin empezar por dígito"),
    "language_rule": ("two small letters: en, es", "dos minúsculas: en, es"),
    "user_rule": ("a user name such as root or www-data", "un nombre de usuario como root o www-data"),
    "reserved": ("`to: host` and `to: nat` mean something already", "`to: host` y `to: nat` ya significan algo"),
    "n_is_taken": ("$n is a copy's own number", "$n es el número de cada copia"),
    "n_needs_each": ("$n is for copies: each: 1..8", "$n es para copias: each: 1..8"),
    "nth_form": (
        'the n-th address of a network: "10.0.0.0/16[$n]", with a number in the brackets',
        'la dirección n-ésima de una red: "10.0.0.0/16[$n]", con un número en los corchetes',
    ),
    "unicast_only": ("an interface has a unicast address", "un interfaz tiene una dirección unicast"),
    "without_prefix": ("without prefix length: {text}", "sin longitud de prefijo: {text}"),
    "write_prefix": ("write {text}, say", "escriba por ejemplo {text}"),
    "interface_form": ("as in 10.0.0.1/24 or 2001:db8::1/64", "como 10.0.0.1/24 o 2001:db8::1/64"),
    "network_form": ("as in 10.0.0.0/24, 2001:db8::/64 or default", "como 10.0.0.0/24, 2001:db8::/64 o default"),
    "unicast_mac": ("the second digit is even: 02:00:00:00:00:01", "la segunda cifra es par: 02:00:00:00:00:01"),
    "absolute_path": (
        "an absolute path, without .. and without a / at its end",
        "una ruta absoluta, sin .. y sin / al final",
    ),
    "not_kernel_files": (
        "/proc, /sys and /dev belong to the kernel; see sysctls:",
        "/proc, /sys y /dev son del kernel; vea sysctls:",
    ),
    "below_lab": ("a relative path, without ..", "una ruta relativa, sin .."),
    "net_only": ("as in net.ipv4.ip_forward", "como net.ipv4.ip_forward"),
    "each_form": ("write 1..8, or a list of words", "escriba 1..8, o una lista de palabras"),
    "seeded_form": ("write 100..4000, or a list of values", "escriba 100..4000, o una lista de valores"),
    "service_form": ("{name}: {{run: [argv…]}}", "{name}: {{run: [argv…]}}"),
    "said": ("{text}", "{text}"),
    "check_form": ("kinds: {names}", "clases: {names}"),
    "empty_one": ("write {{}} for an empty one", "escriba {{}} para uno vacío"),
    "declare_parameter": ("declare it below parameters:", "declárelo en parameters:"),
    "declare_switch": (
        "declare a switch: switches: {{{name}: {{}}}}",
        "declare un conmutador: switches: {{{name}: {{}}}}",
    ),
    "cable_ends": ("a cable ends in a switch or in NODE.NIC", "un cable acaba en un conmutador o en NODO.NIC"),
    "use_a_switch": (
        "a cable joins two: make {name} a switch",
        "un cable une dos: haga de {name} un conmutador",
    ),
    "use_a_switch_between": (
        "a NIC has one plug: put a switch between",
        "un NIC tiene una toma: ponga un conmutador en medio",
    ),
    "host_is_for_containers": (
        "name a switch, a bridge, a cable or NODE.NIC",
        "nombre un conmutador, puente, cable o NODO.NIC",
    ),
    "peer_where": ("peer is for to: host, bridges and switches", "peer es para to: host, puentes y conmutadores"),
    "rename_one": ("rename one of them", "cambie el nombre de uno"),
    "set_peer": (
        "the far end of {nic} has this name: set its peer: NAME",
        "el otro extremo de {nic} se llama así: ponga peer: NOMBRE",
    ),
    "via_or_dev": ("add via: or dev:", "añada via: o dev:"),
    "onlink_needs": ("onlink needs via and dev", "onlink necesita via y dev"),
    "link_local_needs_dev": ("a link-local next hop needs dev:", "un siguiente salto de enlace local necesita dev:"),
    "one_gateway": (
        "one gateway for each family; for more, routes: with metric:",
        "una puerta por familia; para más, routes: con metric:",
    ),
    "subnets": ("its subnets: {names}", "sus subredes: {names}"),
    "no_subnets": ("it has no address of its own there", "no tiene dirección propia ahí"),
    "stp_or_accept": ("add stp: true to a bridge, or accept: [W001]", "añada stp: true a un puente, o accept: [W001]"),
    "inner_mtu": ("give each of them mtu: {mtu}", "dé a cada uno mtu: {mtu}"),
    "ip_on_bridge": ("give the address to {bridge}", "dé la dirección a {bridge}"),
    "add_forwarding": ("add forwarding: true to {node}", "añada forwarding: true a {node}"),
}

WORDS: dict[str, str] = {
    "nothing": "nada",
    "a list": "una lista",
    "a mapping": "un diccionario",
    "a mapping or list": "un diccionario o una lista",
    "text": "texto",
    "a value": "un valor",
    "a word": "una palabra",
    "a word or a range": "una palabra o un intervalo",
    "true or false": "true o false",
    "a whole number": "un número entero",
    "a number": "un número",
    "an address": "una dirección",
    "an address with its prefix length": "una dirección con su longitud de prefijo",
    "a network": "una red",
    "a network or default": "una red o default",
    "a MAC address": "una dirección MAC",
    "a file mode": "un modo de fichero",
    "an absolute path": "una ruta absoluta",
    "a file below the lab's directory": "un fichero del directorio del laboratorio",
    "something to plug into": "algo a lo que conectar",
    "a sysctl's value": "el valor de un sysctl",
    "a lab's name": "el nombre de un laboratorio",
    "a host name": "un nombre de host",
    "a node's name": "el nombre de un nodo",
    "an interface's name": "el nombre de un interfaz",
    "a name": "un nombre",
    "a user's name": "el nombre de un usuario",
    "a code": "un código",
    "copies": "copias",
    "words": "palabras",
    "keys": "claves",
    "codes": "códigos",
    "to plug into": "a lo que conectar",
    "nodes": "nodos",
    "nics": "interfaces",
    "interfaces": "interfaces",
    "parameters": "parámetros",
    "track script": "script de seguimiento",
    "server": "servidor",
    "script": "script",
    "scripts": "scripts",
    "backend": "backend",
    "backends": "backends",
    "templates": "plantillas",
    "checks": "comprobaciones",
    "cables": "cables",
    "this lab": "este laboratorio",
    "a node": "un nodo",
    "an interface": "un interfaz",
    "a parameter": "un parámetro",
    "a language": "un idioma",
    "a variable": "una variable",
    "a user": "un usuario",
    "a lab": "un laboratorio",
    "node": "nodo",
    "nic": "interfaz",
    "interface": "interfaz",
    "port": "puerto",
    "cable": "cable",
    "switch": "conmutador",
    "bridge": "puente",
    "template": "plantilla",
    "lab": "laboratorio",
    "host": "host",
    "container": "contenedor",
    "cluster": "clúster",
    "hosts": "hosts",
    "route": "ruta",
    "file": "fichero",
    "service": "servicio",
    "checkpoint": "punto de control",
    "variant": "variante",
    "fdb entry": "entrada de fdb",
    "check": "comprobación",
    "checkpoints": "puntos de control",
    "later checkpoints": "puntos de control posteriores",
    "bridges": "puentes",
    "a node, NODE.NIC or an address": "un nodo, NODO.NIC o una dirección",
    "NODE.NIC": "NODO.NIC",
    "a node or NODE.NIC": "un nodo o NODO.NIC",
    "a node or pod/…": "un nodo o pod/…",
    "a node, NODE.NIC or pod/…": "un nodo, NODO.NIC o pod/…",
    "a kind of Kubernetes objects": "un tipo de objetos de Kubernetes",
    "kinds": "tipos",
    "labels": "etiquetas",
    "a number or NODE.NIC": "un número o NODO.NIC",
    "an http:// address": "una dirección http://",
    "a pattern": "un patrón",
    "a program's name": "el nombre de un programa",
    "a place": "un lugar",
    "traffic": "tráfico",
    "path": "camino",
    "share": "parte",
    "stp check": "comprobación de stp",
    "fdb check": "comprobación de fdb",
    "route check": "comprobación de ruta",
    "service check": "comprobación de servicio",
    "kubernetes check": "comprobación de Kubernetes",
    "fault check": "comprobación de avería",
    "run check": "comprobación con orden",
    "check during a fault": "comprobación durante una avería",
    "hidden checks": "comprobaciones ocultas",
    "hidden checkpoint": "punto de control oculto",
}
