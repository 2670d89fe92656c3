//! Compiles `onednn/linear.cpp` against the libtorch that tch uses.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=onednn/linear.cpp");
    // torch-sys says where it found the library; the headers lie beside it.
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let lib = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    let include = env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from);
    let Some(root) = include.or_else(|| lib.as_deref().and_then(Path::parent).map(Path::to_path_buf)) else {
        eprintln!(
            "torch-sys does not say where libtorch is: set LIBTORCH_INCLUDE to the folder that has its include/"
        );
        std::process::exit(1);
    };
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(root.join("include"))
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .define("GLOG_USE_GLOG_EXPORT", None)
        .opt_level(1)
        .file("onednn/linear.cpp")
        .compile("imagine_onednn");
    println!("cargo:rustc-link-lib=dylib=c10");
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
}
