# SPDX-License-Identifier: Apache-2.0
"""Names: from whatever a model calls its layers to Verilog identifiers, and back.

A layer's name is untrusted text. It reaches RTL only as an identifier made here, or in a comment made by `comment`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import count

_LONGEST = 48
_LONGEST_COMMENT = 80


def identifiers(names: Iterable[str], reserved: Iterable[str] = ()) -> Mapping[str, str]:
    """Map each name to an identifier of its own; the map has no two equal values, so it can be read backwards.

    Identifiers consist of letters, digits and single underscores, start with a letter, have at most 57 characters, and
    differ even where case is ignored. A double underscore is thus free to separate an identifier from what is derived
    of it (`stem__tile0`). They carry no protection against keywords: use them with a prefix or suffix, and name in
    `reserved`, in lower case, what this would make a keyword of.
    """
    chosen: dict[str, str] = {}
    taken = set(reserved)
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
        plain = plain if re.match(r"[A-Za-z]", plain) else f"l_{plain}".rstrip("_")
        if len(plain) > _LONGEST or plain.lower() in taken:
            plain = _hashed(plain, name, taken)
        taken.add(plain.lower())
        chosen[name] = plain
    return chosen


def _hashed(plain: str, name: str, taken: set[str]) -> str:
    """Return `plain` with a digest of `name`; a layer may be called like that on purpose, so look until one is free."""
    stem = plain[:_LONGEST].rstrip("_")
    salted = (f"{attempt}:{name}".encode(errors="surrogatepass") for attempt in count())
    candidates = (f"{stem}_{hashlib.sha256(text).hexdigest()[:8]}" for text in salted)
    return next(candidate for candidate in candidates if candidate.lower() not in taken)


def comment(name: str) -> str:
    """Return `name` as text that is safe behind `//`: printable ASCII in quotes, cut to 80 characters."""
    escaped = name.encode("unicode_escape").decode("ascii")
    return f"'{escaped}'" if len(escaped) <= _LONGEST_COMMENT else f"'{escaped[:_LONGEST_COMMENT]}'..."
