// SPDX-License-Identifier: Apache-2.0
#include "cluster/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <new>
#include <system_error>

#include "base/error.h"
#include "base/types.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace unmask::cluster {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::string error_text() { return std::generic_category().message(errno); }

std::string random_name() {
  std::array<std::uint64_t, 2> words{};
  require(::getrandom(words.data(), sizeof words, 0) == sizeof words, ExitCode::kIo, "getrandom: {}", error_text());
  return format("unmask-weights-{:016x}{:016x}", words[0], words[1]);
}

/// A file beyond the limit of the process (ulimit -f) would be a signal that ends it.
void require_file_size(std::size_t bytes) {
  rlimit limit{};
  require(::getrlimit(RLIMIT_FSIZE, &limit) == 0, ExitCode::kIo, "getrlimit: {}", error_text());
  require(limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur, ExitCode::kIo, "files may have {} bytes here (ulimit -f), {} are needed",
          limit.rlim_cur, bytes);
}

/// What the descriptor of a process leads to, as the kernel words it: "/memfd:NAME (deleted)".
std::string target_of(const std::string& link) {
  std::array<char, 512> text{};
  const ssize_t length = ::readlink(link.c_str(), text.data(), text.size());
  require(length >= 0, ExitCode::kIo, "{}: {}", link, error_text());
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

void SharedMemory::MappingTraits::close(Value mapping) noexcept { ::munmap(mapping.begin, mapping.bytes); }

SharedMemory::SharedMemory(FileDescriptor descriptor, std::string name, std::size_t bytes)
    : descriptor_(std::move(descriptor)), name_(std::move(name)) {
  // Addresses first, then memory at the first huge page among them.
  const std::size_t room = bytes + kHugePage;
  void* addresses = ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(addresses != MAP_FAILED, ExitCode::kIo, "mmap of {} bytes: {}", room, error_text());
  mapping_ = Mapping({static_cast<std::byte*>(addresses), room});
  std::byte* begin = mapping_.get().begin + (kHugePage - reinterpret_cast<std::uintptr_t>(addresses) % kHugePage) % kHugePage;
  require(::mmap(begin, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, descriptor_.get(), 0) != MAP_FAILED, ExitCode::kIo,
          "mmap of {} shared bytes: {}", bytes, error_text());
  static_cast<void>(::madvise(begin, bytes, MADV_HUGEPAGE));  // without them it is only read more slowly
  bytes_ = {begin, bytes};
}

SharedMemory SharedMemory::create(std::size_t bytes) {
  require_file_size(bytes);
  std::string name = random_name();
  FileDescriptor descriptor(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  require(static_cast<bool>(descriptor), ExitCode::kIo, "memfd_create: {}", error_text());
  require(::ftruncate(descriptor.get(), narrow<off_t>(bytes)) == 0, ExitCode::kIo, "memory of {} bytes: {}", bytes, error_text());
  // Nobody can take away what others have mapped.
  require(::fcntl(descriptor.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0, ExitCode::kIo, "F_ADD_SEALS: {}", error_text());
  return {std::move(descriptor), std::move(name), bytes};
}

SharedMemory SharedMemory::take(const Offer& offer) {
  const std::string link = format("/proc/{}/fd/{}", offer.process, offer.descriptor);
  const std::string found = target_of(link);
  require(found == format("/memfd:{} (deleted)", offer.name), ExitCode::kIo, "{}: expected the shared memory {}, found {}", link, offer.name, found);
  FileDescriptor descriptor(::open(link.c_str(), O_RDWR | O_CLOEXEC));
  require(static_cast<bool>(descriptor), ExitCode::kIo, "{}: {}", link, error_text());
  struct stat status {};
  require(::fstat(descriptor.get(), &status) == 0 && std::cmp_equal(status.st_size, offer.bytes), ExitCode::kIo,
          "{}: expected {} bytes, found {}", link, offer.bytes, status.st_size);
  SharedMemory memory(std::move(descriptor), offer.name, narrow<std::size_t>(offer.bytes));
  memory.end_offer();
  return memory;
}

SharedMemory::Offer SharedMemory::offer() const {
  UNMASK_CHECK(static_cast<bool>(descriptor_), "this memory of {} bytes cannot be offered", bytes_.size());
  return {.process = ::getpid(), .descriptor = descriptor_.get(), .name = name_, .bytes = bytes_.size()};
}

void SharedMemory::populate(std::span<const std::byte> part) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<std::size_t>(part.data() - bytes_.data());
  UNMASK_CHECK(offset <= bytes_.size() && part.size() <= bytes_.size() - offset, "{} bytes at byte {} of {}", part.size(), offset, bytes_.size());
  const std::size_t begin = offset / page * page;
  const bool failed = ::madvise(bytes_.data() + begin, offset + part.size() - begin, MADV_POPULATE_WRITE) != 0;
  if (failed && (errno == ENOMEM || errno == EFAULT)) {
    throw std::bad_alloc();  // any other error: a kernel that gives memory only when it is written to
  }
}

void SharedMemory::forbid_writes() const { static_cast<void>(::mprotect(bytes_.data(), bytes_.size(), PROT_READ)); }

}  // namespace unmask::cluster
