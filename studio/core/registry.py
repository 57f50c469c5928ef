"""Finds plug-ins: one module of a family's package is one plug-in, its `PLUGIN` attribute.

A family is a package of `studio` (`sources`, `tasks`, `methods`, `exporters`), found by name, so that core never
imports one by statement. Other distributions add plug-ins by entry points of the group `studio.<family>`.
"""

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny


class PluginConfig(BaseModel):
    """The settings of one plug-in, told apart by `kind`; subclasses add fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: str


@cache
def family(name: str) -> dict[str, Any]:
    """Return the plug-ins of a family by id, in the order in which a person should see them."""
    package = importlib.import_module(f"studio.{name}")
    modules = [
        importlib.import_module(f"studio.{name}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]
    plugins = [module.PLUGIN for module in modules if hasattr(module, "PLUGIN")]
    plugins += [entry.load() for entry in entry_points(group=f"studio.{name}")]
    return {plugin.id: plugin for plugin in sorted(plugins, key=lambda plugin: plugin.order)}


def plugin(name: str, config: PluginConfig) -> Any:
    """Return the plug-in of family `name` that `config` belongs to."""
    return family(name)[config.kind]


def parse_config(name: str, value: Any) -> PluginConfig:
    """Return the `Config` of family `name` that `value` (a dict with `kind`, an id or a config) describes.

    Raises ValueError, which pydantic reports at the field, when no plug-in has that kind.
    """
    if isinstance(value, PluginConfig):
        return value
    if isinstance(value, str):
        value = {"kind": value}
    kind = value.get("kind") if isinstance(value, dict) else None
    plugins = family(name)
    if kind not in plugins:
        raise ValueError(f"no {name} plug-in is called {kind!r}; there are: {', '.join(plugins)}")
    return plugins[kind].Config.model_validate(value)


def plugin_field(name: str) -> Any:
    """Return the annotation of a spec's field that holds a config of family `name`."""
    return Annotated[SerializeAsAny[PluginConfig], BeforeValidator(lambda value: parse_config(name, value))]
