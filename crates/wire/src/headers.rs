//! Headers of the Gateway API's inference extension, both ways.
