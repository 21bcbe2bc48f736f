#!/usr/bin/env python3
"""Checks the crates of others against the rules of deny.toml that need no network: licences, sources, banned crates.

cargo-deny checks the same file, with advisories and more; it takes minutes to install.
"""

import json
import re
import subprocess
import sys
import tomllib

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def is_allowed(licence: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met by licences of the list. `/` is the old form of OR."""
    tokens = re.findall(r"[()]|[^\s()]+", licence.replace("/", " OR "))

    def any_of() -> bool:
        met = all_of()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = all_of() or met
        return met

    def all_of() -> bool:
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        token = tokens.pop(0)
        if token == "(":
            met = any_of()
            tokens.pop(0)
            return met
        if tokens[:1] == ["WITH"]:
            # An exception only adds permissions.
            del tokens[:2]
        return token in allowed

    return any_of()


def main() -> int:
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    allowed = set(rules["licenses"]["allow"])
    banned = {ban["crate"]: ban for ban in rules["bans"]["deny"]}
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    for target in rules["graph"]["targets"]:
        command += ["--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    users: dict[str, set[str]] = {}
    for node in metadata["resolve"]["nodes"]:
        for dependency in node["dependencies"]:
            users.setdefault(names[dependency], set()).add(names[node["id"]])
    used = {node["id"] for node in metadata["resolve"]["nodes"]}
    problems = []
    for package in metadata["packages"]:
        name, source = package["name"], package["source"]
        if package["id"] not in used or source is None:
            continue
        if not is_allowed(package["license"] or "none", allowed):
            problems.append(f"{name}: the licence {package['license']} is not in the list of deny.toml")
        if source != REGISTRY:
            problems.append(f"{name}: comes from {source}")
        ban = banned.get(name)
        if ban and not users.get(name, set()) <= set(ban.get("wrappers", [])):
            problems.append(f"{name}: {ban['reason']}; used by {', '.join(sorted(users[name]))}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"crates of others: {sum(1 for p in metadata['packages'] if p['source'])} checked against deny.toml")
    return 1 if problems else 0


sys.exit(main())
