"""Parts of the projects that decode Qwen3-TTS; :mod:`scripts.peers.qwen_tts` is the authors' network."""
