//! Sets up the linker for an addon.

use std::env::var;

fn main() {
    napi_build::setup();
    // A panic aborts in the published addon, so nothing searches for the tables that unwinding
    // needs: the index of these tables is left out.
    let is = |name, value| var(name).is_ok_and(|found| found == value);
    if is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
    {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--no-eh-frame-hdr");
    }
}
