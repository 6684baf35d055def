"""Pictures and video: formats, raw files, Y4M, colour, and the sequences that everything else works on."""
