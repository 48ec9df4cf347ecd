"""``edge-sdk keys``: make and list signing keys."""

from __future__ import annotations

from pathlib import Path

import click

from edge_sdk.base import terminal
from edge_sdk.base.errors import ConfigError

DIRECTORY = Path("~/.config/edge-sdk/keys")


@click.group()
def keys() -> None:
    """Make and list the keys that sign bundles.

    \b
    Examples:
      edge-sdk keys new workshop
      edge-sdk keys list
    """


@keys.command()
@click.argument("name")
@click.option("--directory", type=click.Path(path_type=Path), default=DIRECTORY, show_default=True)
@terminal.json_option
def new(name: str, directory: Path, json_file: str | None) -> None:
    """Make the pair NAME (private, mode 600) and NAME.pub, which stations are given."""
    from edge_sdk.contract.trust import SigningKey

    key, path = SigningKey.new(), directory.expanduser() / name
    key.write(path)
    record = {"private": str(path), "public": f"{path}.pub", "key_id": key.public.key_id, "key": key.public.text}
    terminal.write_json(json_file, record)
    if json_file != "-":
        click.echo(f"{path}       keep it here: it signs (convert --sign {path})")
        click.echo(f"{path}.pub   give it to stations: trust: keys: [{name}.pub]")
        click.echo(f"key id {key.public.key_id}")


@keys.command("list")
@click.option("--directory", type=click.Path(path_type=Path), default=DIRECTORY, show_default=True)
@terminal.json_option
def list_keys(directory: Path, json_file: str | None) -> None:
    """List the public keys in a directory."""
    from edge_sdk.contract.trust import PublicKey

    found = []
    for path in sorted(directory.expanduser().glob("*.pub")):
        try:
            key = PublicKey.read(path)
        except ConfigError as error:
            terminal.warning(str(error))
            continue
        signs = path.with_suffix("").exists()
        found.append({"name": path.stem, "key_id": key.key_id, "key": key.text, "private_key_here": signs})
    terminal.write_json(json_file, found)
    if json_file != "-":
        terminal.table(
            f"Keys in {directory}",
            ["name", "key id", "key", "private key here"],
            [[row["name"], row["key_id"], row["key"], "yes" if row["private_key_here"] else "no"] for row in found],
        )
