"""Read files in object stores and on web servers without requesting a byte twice.

`open_object` opens a file by its URL. Bytes that were read are cached in this process up to a
limit, and file headers are stored with a run (`foveate.remote.kept`). obstore sends the requests,
async-tiff parses TIFF directories; both are installed with ``foveate[cloud]``.
"""

from foveate.remote.kept import keep_headers, load_headers
from foveate.remote.layout import Ahead
from foveate.remote.objects import (
    RemoteObject,
    content_of,
    forget,
    known_object,
    look_again,
    open_object,
    open_together,
    took_listing,
)
from foveate.remote.stores import list_objects, need_cloud
from foveate.remote.traffic import Traffic, traffic

__all__ = [
    "Ahead",
    "RemoteObject",
    "Traffic",
    "content_of",
    "forget",
    "keep_headers",
    "known_object",
    "list_objects",
    "load_headers",
    "look_again",
    "need_cloud",
    "open_object",
    "open_together",
    "took_listing",
    "traffic",
]
