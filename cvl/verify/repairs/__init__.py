"""What `cvl.verify.repair` is made of: a draft of the tree, rules that find repairs in it, acts, and their journal."""
