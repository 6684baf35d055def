"""What lies in a bitstream: NAL units, the colour description, the stock decoders."""
