# SPDX-License-Identifier: Apache-2.0
"""Remove the versions of objects that no state of a container since TIME needs.

Usage: eval "$(swift auth)"; python3 remove_old_versions.py CONTAINER TIME [--yes]

TIME is ISO 8601 in UTC, such as 2026-11-01. Without --yes nothing is removed.
"""

import datetime
import itertools
import os
import sys

from swiftclient import client


def versions(url, token, container):
    """Yield the rows of all versions, by name, the newest first."""
    name = version = None
    while True:
        rows = client.get_container(
            url, token, container, marker=name, version_marker=version, query_string="versions=true"
        )[1]
        if not rows:
            return
        yield from rows
        name, version = rows[-1]["name"], rows[-1]["version_id"]


def stored_at(row):
    """Return when a version was stored, in seconds since 1970."""
    if row["version_id"] == "null":  # stored without versioning
        time = datetime.datetime.fromisoformat(row["last_modified"])
        return time.replace(tzinfo=datetime.timezone.utc).timestamp()
    return float(row["version_id"].partition("_")[0])


def removable(rows, since):
    """Return the versions of one object that no state since then needs, the oldest first."""
    earlier = sorted((row for row in rows if stored_at(row) <= since), key=stored_at)
    if earlier and "swift_versions_deleted=1" not in earlier[-1]["content_type"]:
        earlier.pop()  # the object as it was then
    return earlier


def main(container, time, yes=""):
    """Remove the versions, or only report them."""
    url, token = os.environ["OS_STORAGE_URL"], os.environ["OS_AUTH_TOKEN"]
    moment = datetime.datetime.fromisoformat(time)
    since = (moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)).timestamp()
    count = size = 0
    listed = versions(url, token, container)
    for name, rows in itertools.groupby(listed, key=lambda row: row["name"]):
        for row in removable(rows, since):
            count, size = count + 1, size + row["bytes"]
            if yes == "--yes":
                query = "version-id=" + row["version_id"]
                client.delete_object(url, token, container, name, query_string=query)
    done = "removed" if yes == "--yes" else "can be removed"
    sys.stdout.write(f"{count} versions with {size} bytes {done}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
