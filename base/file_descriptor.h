// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include "base/unique_handle.h"

namespace unmask {

struct FileDescriptorTraits {
  using Value = int;
  static Value empty() { return -1; }
  static void close(Value descriptor) noexcept { ::close(descriptor); }
};
using FileDescriptor = UniqueHandle<FileDescriptorTraits>;

}  // namespace unmask
