"""The web endpoint ``tritone gateway``: codecs over WebSocket and HTTP."""
