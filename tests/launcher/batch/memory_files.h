// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/batch/files.h"

namespace unmask::launcher {

/// A file system in memory that writes down what is done to it, fails when told to, and can be brought to any state that a
/// crash leaves.
class MemoryFiles : public Files {
 public:
  struct Change {
    enum class Kind { kAppend, kTruncate, kSync };
    std::string file;
    Kind kind;
    std::uint64_t offset = 0;  ///< kAppend: where; kTruncate: the new size
    std::string bytes;
  };
  enum class Fault { kNone, kNoSpace, kIoError };

  std::unique_ptr<AppendFile> open(const std::filesystem::path& file) override {
    contents[file.string()];
    return std::make_unique<File>(*this, file.string());
  }

  /// The files after the first `count` changes; of those that no sync of their file followed, the ones that `keep` says.
  template <class Keep>
  static std::map<std::string, std::string> replay(const std::vector<Change>& log, std::size_t count, Keep keep) {
    std::map<std::string, std::size_t> synced;  // per file: changes before this one are on disk
    for (std::size_t i = 0; i < count; ++i) {
      if (log[i].kind == Change::Kind::kSync) {
        synced[log[i].file] = i;
      }
    }
    std::map<std::string, std::string> files;
    for (std::size_t i = 0; i < count; ++i) {
      const Change& change = log[i];
      std::string& text = files[change.file];
      const auto at = synced.find(change.file);
      const bool is_safe = at != synced.end() && i < at->second;
      if (change.kind == Change::Kind::kSync || (!is_safe && !keep(i))) {
        continue;
      }
      if (change.kind == Change::Kind::kTruncate) {
        text.resize(change.offset);
      } else {
        text.resize(std::max(text.size(), change.offset + change.bytes.size()));  // a hole is zeros
        text.replace(change.offset, change.bytes.size(), change.bytes);
      }
    }
    return files;
  }

  std::map<std::string, std::string> contents;
  std::vector<Change> log;
  /// The change from which on everything fails, and how; space that is left then is half of the change.
  std::size_t fails_from = ~std::size_t{0};
  Fault fault = Fault::kNone;
  std::map<std::string, int> locks;

 private:
  class File : public AppendFile {
   public:
    File(MemoryFiles& all, std::string name) : all_(all), name_(std::move(name)) {}
    ~File() override {
      if (locked_) {
        all_.locks[name_] = 0;
      }
    }
    std::uint64_t num_bytes() const override { return text().size(); }
    std::size_t read(std::uint64_t offset, std::span<char> into) const override {
      const std::size_t n = offset >= text().size() ? 0 : std::min<std::size_t>(into.size(), text().size() - offset);
      std::copy_n(text().data() + std::min<std::size_t>(offset, text().size()), n, into.data());
      return n;
    }
    void append(std::string_view bytes) override {
      if (all_.log.size() >= all_.fails_from) {
        text() += bytes.substr(0, bytes.size() / 2);
        fail(ExitCode::kIo, "{}: injected", name_);
      }
      all_.log.push_back({name_, Change::Kind::kAppend, text().size(), std::string(bytes)});
      text() += bytes;
    }
    void truncate(std::uint64_t num_bytes) override {
      all_.log.push_back({name_, Change::Kind::kTruncate, num_bytes, ""});
      text().resize(num_bytes);
    }
    void sync() override {
      require(all_.fault != Fault::kIoError || all_.log.size() < all_.fails_from, ExitCode::kIo, "{}: injected", name_);
      all_.log.push_back({name_, Change::Kind::kSync, 0, ""});
    }
    bool try_lock() override {
      locked_ = locked_ || all_.locks[name_]++ == 0;
      return locked_;
    }

   private:
    std::string& text() const { return all_.contents.at(name_); }
    MemoryFiles& all_;
    std::string name_;
    bool locked_ = false;
  };
};

}  // namespace unmask::launcher
