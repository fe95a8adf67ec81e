//! Sets up the linker for an addon.

use std::env::var;

fn main() {
    napi_build::setup();
    // A panic aborts in the published addon, so nothing searches for the tables of unwinding: they
    // are left out with their index. `zig`, which links for musl, knows no scripts.
    let is = |name, value| var(name).is_ok_and(|found| found == value);
    if is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
    {
        let folder = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rerun-if-changed=discard_unwinding.ld");
        println!("cargo:rustc-cdylib-link-arg=-T{folder}/discard_unwinding.ld");
        println!("cargo:rustc-cdylib-link-arg=-Wl,--no-eh-frame-hdr");
    }
}
