"""What lies in a bitstream: NAL units, parameter sets, format and rate, containers, and libavcodec as its decoder."""
