"""Reading the ``model_config.yaml`` of NeMo's AudioCodecModel: which classes with which options."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tritone_build.errors import UnsupportedNetworkError

__all__ = [
    "MODEL",
    "MODULES",
    "QUANTIZERS",
    "REQUIRED",
    "Classes",
    "class_named",
    "refuse_other_models",
    "section_options",
]

MODEL = "nemo.collections.tts.models.audio_codec.AudioCodecModel"
MODULES = "nemo.collections.tts.modules.audio_codec_modules"
REQUIRED = object()
"""The value of an option that has no default."""

Classes: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The options of NeMo's classes with their defaults; options that are not in it are not supported."""
QUANTIZERS: Classes = {
    "GroupFiniteScalarQuantizer": {"num_groups": REQUIRED, "num_levels_per_group": REQUIRED}
}


def refuse_other_models(config: Mapping[str, Any]) -> None:
    """Raise UnsupportedNetworkError unless the configuration is of one audio codec."""
    if config.get("target", MODEL) != MODEL:
        raise UnsupportedNetworkError(f"target {config['target']} is not supported; supported: {MODEL}")
    if "sample_rate" not in config:
        raise UnsupportedNetworkError("the configuration has no sample_rate; is this an audio codec?")
    for key in ("semantic_codec", "semantic_codec_path"):
        if config.get(key):
            raise UnsupportedNetworkError(f"{key} is not supported: this codec contains a second codec")


def class_named(config: Mapping[str, Any], part: str) -> str:
    """Return NeMo's class of a part, without its module; an empty text without such a part."""
    section = config.get(part)
    target = section.get("_target_") if isinstance(section, Mapping) else None
    return "" if target is None else str(target).removeprefix(f"{MODULES}.")


def section_options(
    config: Mapping[str, Any],
    part: str,
    classes: Classes,
    values: Mapping[str, Sequence[Any]],
) -> tuple[str, dict[str, Any]]:
    """Return the class of a part and its options, with defaults.

    Args:
        config: the configuration.
        part: name of the section.
        classes: the classes that are supported there.
        values: supported values of options that are not free.

    Raises:
        UnsupportedNetworkError: names a missing section or option, or what is not supported.
    """
    section = config.get(part)
    if not isinstance(section, Mapping):
        raise UnsupportedNetworkError(f"the configuration has no section {part!r}; is this an audio codec?")
    name = class_named(config, part)
    if name not in classes:
        supported = ", ".join(classes)
        raise UnsupportedNetworkError(
            f"{part}: {section.get('_target_')} is not supported; supported: {supported}"
        )
    given = {key: value for key, value in section.items() if key != "_target_"}
    unknown = [key for key in given if key not in classes[name]]
    if unknown:
        known = ", ".join(classes[name])
        raise UnsupportedNetworkError(
            f"{part}: option {unknown[0]} = {given[unknown[0]]!r} is not supported; known: {known}"
        )
    options = {**classes[name], **given}
    missing = [key for key, value in options.items() if value is REQUIRED]
    if missing:
        raise UnsupportedNetworkError(f"{part}: {name} needs the options {', '.join(missing)}")
    for key, value in options.items():
        if value not in values.get(key, (value,)):
            supported = ", ".join(map(str, values[key]))
            raise UnsupportedNetworkError(
                f"{part}: {key} = {value!r} is not supported; supported: {supported}"
            )
    return name, options
