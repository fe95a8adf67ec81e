//! Tells the linker what an addon of Node is on this platform.

fn main() {
    napi_build::setup();
}
