// SPDX-License-Identifier: Apache-2.0
// A switch whose links have a delay, for kernels without netem: one tap device per host, joined here.
//
//   lab_relay DELAY_US RATE_BITS|0 NAMESPACE-FILE...     writes "ready", then runs until it is killed
//
//   h0 eth0 -> read -> by destination address -> [queue of h1: due = when it came + delay, one after another at the rate] -> h1 eth0
//
// Frames come with their offload header, so that 64 KiB pass at once: a gigabit costs some percent of a core.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Address = std::array<unsigned char, 6>;

/// virtio_net_hdr, whose own header is not C++.
struct OffloadHeader {
  std::uint8_t flags, gso_type;
  std::uint16_t header_bytes, gso_size, checksum_start, checksum_offset;
};
constexpr std::size_t kOffloadHeader = sizeof(OffloadHeader);
static_assert(kOffloadHeader == 10);
constexpr std::size_t kMaxFrame = kOffloadHeader + 14 + 65536 + 64;
constexpr std::size_t kMaxQueueBytes = std::size_t{32} << 20;  // beyond it frames are lost, as in any switch
constexpr std::size_t kHeadersPerSegment = 14 + 20 + 32;

struct Frame {
  Clock::time_point due;
  std::vector<char> bytes;
};

struct Port {
  int tap = -1;
  Clock::time_point free;  // when its link has sent what is queued
  std::size_t queued_bytes = 0;
  std::deque<Frame> queue;
};

int check(int result, const std::string& what) {
  if (result < 0) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
  }
  return result;
}

/// A tap device eth0 in the namespace.
int open_tap(const std::string& namespace_file, int home) {
  const int there = check(open(namespace_file.c_str(), O_RDONLY | O_CLOEXEC), namespace_file);
  check(setns(there, CLONE_NEWNET), "setns");
  const int tap = check(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun");
  ifreq request{};
  std::strcpy(request.ifr_name, "eth0");
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  check(ioctl(tap, TUNSETIFF, &request), "TUNSETIFF");
  check(ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), "TUNSETOFFLOAD");
  check(setns(home, CLONE_NEWNET), "setns back");
  close(there);
  return tap;
}

/// What the frame takes on a wire, where it would be cut into segments with headers of their own.
std::size_t wire_bytes(const std::vector<char>& frame) {
  OffloadHeader header{};
  std::memcpy(&header, frame.data(), sizeof header);
  const std::size_t bytes = frame.size() - kOffloadHeader;
  return header.gso_size == 0 ? bytes : bytes + bytes / header.gso_size * kHeadersPerSegment;
}

class Switch {
 public:
  Switch(Clock::duration delay, double bits_per_second, std::vector<int> taps) : delay_(delay), rate_(bits_per_second) {
    for (const int tap : taps) {
      ports_.push_back({tap, {}, 0, {}});
    }
  }

  [[noreturn]] void run() {
    std::vector<pollfd> polled;
    for (const Port& port : ports_) {
      polled.push_back({port.tap, POLLIN, 0});
    }
    while (true) {
      const auto pause = until_next();
      const timespec timeout{pause.count() / 1'000'000'000, pause.count() % 1'000'000'000};
      check(std::max(ppoll(polled.data(), polled.size(), &timeout, nullptr), 0), "ppoll");
      for (std::size_t port = 0; port < ports_.size(); ++port) {
        if (polled[port].revents != 0) {
          take(port);
        }
        give(ports_[port]);
      }
    }
  }

 private:
  std::chrono::nanoseconds until_next() const {
    auto next = Clock::now() + std::chrono::seconds(1);
    for (const Port& port : ports_) {
      next = port.queue.empty() ? next : std::min(next, port.queue.front().due);
    }
    return std::max(std::chrono::nanoseconds(next - Clock::now()), std::chrono::nanoseconds(0));
  }

  void take(std::size_t from) {
    while (true) {
      const ssize_t got = read(ports_[from].tap, buffer_.data(), buffer_.size());
      if (got < static_cast<ssize_t>(kOffloadHeader + 14)) {
        return;
      }
      const std::vector<char> frame(buffer_.begin(), buffer_.begin() + got);
      Address to{};
      Address sender{};
      std::copy_n(frame.begin() + kOffloadHeader, 6, to.begin());
      std::copy_n(frame.begin() + kOffloadHeader + 6, 6, sender.begin());
      place_[sender] = from;
      const auto known = place_.find(to);
      for (std::size_t port = 0; port < ports_.size(); ++port) {
        if (port != from && (known == place_.end() || known->second == port)) {
          queue(ports_[port], frame);
        }
      }
    }
  }

  void queue(Port& port, const std::vector<char>& frame) {
    if (port.queued_bytes + frame.size() > kMaxQueueBytes) {
      return;
    }
    auto due = Clock::now() + delay_;
    if (rate_ > 0) {
      const std::chrono::duration<double> on_wire(static_cast<double>(wire_bytes(frame)) * 8 / rate_);
      // A frame that the sender's own link let through in time is not held up again; only several senders at once are.
      const auto whole = std::chrono::duration_cast<Clock::duration>(on_wire);
      due = std::max(due, port.free + whole);
      port.free = std::max(due, port.free);
    }
    port.queued_bytes += frame.size();
    port.queue.push_back({due, frame});
  }

  static void give(Port& port) {
    for (const auto now = Clock::now(); !port.queue.empty() && port.queue.front().due <= now; port.queue.pop_front()) {
      const Frame& frame = port.queue.front();
      [[maybe_unused]] const ssize_t sent = write(port.tap, frame.bytes.data(), frame.bytes.size());  // a link that is down loses it
      port.queued_bytes -= frame.bytes.size();
    }
  }

  Clock::duration delay_;
  double rate_;
  std::vector<Port> ports_;
  std::map<Address, std::size_t> place_;  // learned from senders
  std::vector<char> buffer_ = std::vector<char>(kMaxFrame);
};

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 4) {
      throw std::runtime_error("expected DELAY_US RATE_BITS|0 NAMESPACE-FILE...");
    }
    const int home = check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "/proc/self/ns/net");
    std::vector<int> taps;
    for (int i = 3; i < argc; ++i) {
      taps.push_back(open_tap(argv[i], home));
    }
    const std::chrono::duration<double, std::micro> delay(std::atof(argv[1]));
    Switch relay(std::chrono::duration_cast<Clock::duration>(delay), std::atof(argv[2]), taps);
    std::puts("ready");
    std::fflush(stdout);
    relay.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lab_relay: %s\n", error.what());
    return 1;
  }
}
