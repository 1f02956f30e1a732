"""The networks of NeMo's spectral codec: an encoder of spectra and a decoder of residual blocks.

After MultiResolutionSTFTEncoder and ResNetDecoder of nemo/collections/tts/modules/audio_codec_modules.py,
NeMo 3.0.0. Modules carry the names of the published tensors.
"""
