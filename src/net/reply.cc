// reply.cc - the buffer that handlers answer into.

#include "yamanote/service.h"

namespace yamanote {

bool Reply::Append(Bytes bytes) {
  if (bytes.size() > limit_ - (buffer_.size() - start_)) return false;
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return true;
}

void Reply::Clear(size_t keep_bytes) {
  buffer_.clear();
  if (buffer_.capacity() > keep_bytes) buffer_.shrink_to_fit();
  start_ = 0;
  datagram_bytes_ = 0;
  close_ = false;
}

}  // namespace yamanote
