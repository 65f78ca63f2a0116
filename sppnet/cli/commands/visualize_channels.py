"""Draw where filters of conv5 respond in a photo, one tile per channel, as in the paper's Figure 2.

The strongest cell of each channel is framed.

sppnet visualize channels photo.jpg --count 7
"""

from __future__ import annotations

from typing import Any

from sppnet.settings.views import ChannelViewSettings

SETTINGS = ChannelViewSettings


def run(settings: ChannelViewSettings) -> dict[str, Any]:
    """Return the network, the scale of the map, and the channels shown."""
    from sppnet.cli.views import picture_path, write_view
    from sppnet.views.network import channel_view

    path = picture_path(settings, "channels")
    return write_view(channel_view(settings), path)
