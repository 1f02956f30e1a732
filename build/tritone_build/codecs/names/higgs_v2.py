"""The two spellings of the tensor names of Higgs Audio v2's tokenizer: the authors' and transformers'.

The authors name the two DAC halves ``encoder`` and ``decoder_2``, with Descript's numbers within, and hold
each convolution of the semantic networks in a module of its own. What they call ``fc1`` is unused; it is not
transformers' ``fc1``.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from tritone_build.codecs.names import dac

__all__ = ["for_inference", "is_original", "to_original", "to_transformers"]

_MARK = "decoder_2.model."
_MAPS = {"fc_prior.": "fc.", "fc_post1.": "fc1.", "fc_post2.": "fc2."}
_BOOK = (r"^quantizer\.vq\.layers\.(\d+)\.", r"quantizer.quantizers.\1.")
_BOOK_BACK = (r"^quantizer\.quantizers\.(\d+)\.", r"quantizer.vq.layers.\1.")
_CONV = re.compile(r"^((?:en|de)coder_semantic\..*?conv[12]?)\.conv\.(weight|bias)$")
_CONV_BACK = re.compile(r"^((?:en|de)coder_semantic\..*conv[12]?)\.(weight|bias)$")
_TRAINING = re.compile(
    r"decoder_semantic\.|fc1\.|semantic_model\.masked_spec_embed$"
    r"|quantizer\.quantizers\.\d+\.codebook\.(embed_avg|cluster_size|inited)$"
)


def is_original(names: Iterable[str]) -> bool:
    """Whether tensors have the authors' names."""
    return any(name.startswith(_MARK) for name in names)


def for_inference(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by transformers' names, without those that only the training needs."""
    return {name: tensor for name, tensor in tensors.items() if _TRAINING.match(name) is None}


def to_transformers(tensors: Mapping[str, Tensor], num_rates: int) -> dict[str, Tensor]:
    """Tensors by transformers' names, without the unused ``fc1``; other names stay as they are."""
    used = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc1.")}
    halves = {_renamed(name, {"decoder_2.": "decoder."}): tensor for name, tensor in used.items()}
    return {_to_transformers(name): each for name, each in dac.to_transformers(halves, num_rates).items()}


def _to_transformers(name: str) -> str:
    if name.startswith(("encoder.", "decoder.")):
        return f"acoustic_{name}"
    name = re.sub(*_BOOK, name).replace("._codebook.", ".codebook.")
    return _CONV.sub(r"\1.\2", _renamed(name, _MAPS))


def to_original(tensors: Mapping[str, Tensor], num_rates: int) -> dict[str, Tensor]:
    """The inverse of :func:`to_transformers`."""
    halves = {_renamed(name, {"acoustic_": ""}): tensor for name, tensor in tensors.items()}
    return {_to_original(name): each for name, each in dac.to_original(halves, num_rates).items()}


def _to_original(name: str) -> str:
    if name.startswith("decoder.model."):
        return f"decoder_2.{name.removeprefix('decoder.')}"
    name = re.sub(*_BOOK_BACK, name).replace(".codebook.", "._codebook.")
    return _CONV_BACK.sub(r"\1.conv.\2", _renamed(name, {there: here for here, there in _MAPS.items()}))


def _renamed(name: str, beginnings: Mapping[str, str]) -> str:
    for here, there in beginnings.items():
        if name.startswith(here):
            return there + name.removeprefix(here)
    return name
