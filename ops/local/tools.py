"""What must be installed for a local stack."""

import shutil


class MissingTool(Exception):
    """Something that must be installed is not."""


def find_tool(name: str, what: str) -> str:
    """The path of a program. Raises MissingTool, which says that it is `what`."""
    path = shutil.which(name)
    if path is None:
        raise MissingTool(f"{name} is not installed{what}")
    return path
