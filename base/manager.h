/* The service manager that started this process, where there is one (systemd, or who speaks as it
 * does): it is told what state we are in, hands listening sockets over, and kills us when we say
 * nothing for too long. Without one all of this does nothing.
 *
 * The protocol is that of sd_notify(3) and sd_listen_fds(3): datagrams to $NOTIFY_SOCKET, and
 * sockets from descriptor 3 on, as many as $LISTEN_FDS says, if $LISTEN_PID is us. */
#pragma once

#include "base/cleanup.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/** A thread that has shown no life for so long stands still. Longer than anything a thread that is
 * watched waits for. */
#define MANAGER_STILL_MS 15000

/** That a thread makes progress: it beats, or says that it rests. Shared with the one that looks.
 */
struct manager_pulse {
    _Atomic int64_t beaten_ms; /* monotonic; 0: it rests, and may do so for as long as it likes */
};

/** Reads the environment and takes the sockets over; call it once, before any thread starts. */
void manager_init(void);

/** Tells "READY=1", "STOPPING=1" or "STATUS=...": a line, or several. */
void manager_tell(const char *state);

/** A listening socket that was handed over and is bound to exactly this address; it is the caller's
 * from then on. -1: none. A handed one stays open with the manager, so that connections wait in it
 * while nobody of us is there. */
int manager_take_listener(const struct sockaddr *address, socklen_t len) MUST_CHECK;
/** The first handed socket of that family that is left. -1: none. */
int manager_take_family(int family) MUST_CHECK;
/** Warns of handed sockets that nobody took: they would keep clients waiting for ever. Closes them.
 */
void manager_close_rest(void);

void manager_beat(struct manager_pulse *pulse);
void manager_rest(struct manager_pulse *pulse);
bool manager_is_alive(const struct manager_pulse *pulse);

/** Call this about once a second: feeds the manager's watchdog if all is alive. If not, says once
 * which thread stands still, and leaves the rest to the manager. */
void manager_watch(bool alive, const char *still);
