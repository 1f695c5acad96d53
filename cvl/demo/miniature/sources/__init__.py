"""The miniature of every source: which pictures it has, and how it packs and publishes them."""
