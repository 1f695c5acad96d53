"""The miniature of every source: drawn pictures, true captions and questions, packed as the real ones are."""

from cvl.demo.miniature.world import World, build_world

__all__ = ["World", "build_world"]
