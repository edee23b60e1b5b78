//! Typed message codecs: scanners that write to a sink and writers that read from a source.
