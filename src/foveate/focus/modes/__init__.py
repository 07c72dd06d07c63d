"""The three modes of paying for a look; one file each."""
