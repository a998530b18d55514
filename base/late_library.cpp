// SPDX-License-Identifier: Apache-2.0
#include "base/late_library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace unmask {

LateLibrary::LateLibrary(std::initializer_list<const char*> files) {
  std::string why;
  for (const char* file : files) {
    handle_ = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      file_ = file;
      return;
    }
    why += format("{}{}", why.empty() ? "" : "; ", ::dlerror());
  }
  require(false, ExitCode::kBadInput, "a library that GPUs need could not be loaded: {}: install it, or add its folder to LD_LIBRARY_PATH", why);
}

void* LateLibrary::address_of(const char* name) const {
  void* const address = ::dlsym(handle_, name);
  require(address != nullptr, ExitCode::kBadInput, "{} has no function {}: expected the version that this program was built with", file_, name);
  return address;
}

}  // namespace unmask
