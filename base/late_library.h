// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>

namespace unmask {

/// A shared library that is loaded when it is first needed, for what most runs never touch: it costs others neither memory nor
/// time, and may be absent. Stays loaded.
class LateLibrary {
 public:
  /// Takes the first of these files or names that can be loaded. Throws Error(kBadInput) saying why none can.
  explicit LateLibrary(std::initializer_list<const char*> files);

  /// Throws Error(kBadInput) where the library has no such function.
  template <class Function>
  Function find(const char* name) const {
    return reinterpret_cast<Function>(address_of(name));
  }

 private:
  void* address_of(const char* name) const;

  std::string file_;
  void* handle_ = nullptr;
};

}  // namespace unmask
