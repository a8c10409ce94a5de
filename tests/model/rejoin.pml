/* rejoin.pml - an application goes from an arbiter that was lost to the next one
 * (src/arbiter/client.h, src/worker/registration.h), in every order of steps.
 *
 * One core, which is nobody's home core, and one application: its worker, and the thread
 * that keeps it registered. Arbiters follow each other, each with words of its own in one
 * of the application's two links; each dies at any moment but the last. Checked:
 *
 *   - nobody's words are replaced by the next arbiter's while the worker uses them;
 *   - nothing is left behind: when nothing moves any more the worker goes by the last
 *     arbiter's words, has answered its last command, and is on the core only by a grant.
 *
 * The model can fail:
 *
 *   -DWAKE_ONCE   if who sleeps on the words of the dead is woken only once: it may be on
 *                 its way to sleep
 *   -DNO_WAIT     if the link of the dead is used again before the worker has left it
 *   -DNO_CLAIM    if a core where the worker is, or is on its way to, is not claimed: the next
 *                 arbiter takes it for free, and the worker is on it by no grant when the
 *                 arbiter grants it to somebody else
 *
 * The thread that keeps it registered waits for the worker as long as it takes; in the code
 * for a second, if there is another arbiter to go to (Registration::Follow says what may
 * come of that). Sleeps have no end here; in the code they have (Link::kLongestSleep). */

#define LIVES 3
#define PASSES 3

mtype = { AWAY, GRANTED, REVOKED };

/* The two links. */
byte epoch[2];
mtype command[2] = AWAY;
byte seen_epoch[2];
bool present[2];
byte current = 0;

/* The worker. */
byte link = 0;
bool inside;
bool sleeps;
byte sleeps_on;

/* The arbiters, by life. */
bool registered[LIVES];
bool answered[LIVES];
bool dead[LIVES];
bool over;

/* For the checks: the new arbiter was told of the core, or may take it for free. */
bool claimed;

inline wake(which) {
  atomic {
    if
    :: sleeps && sleeps_on == which -> sleeps = false
    :: else
    fi
  }
}

proctype Worker() {
  byte word_epoch = 0;
  byte read_epoch;
  mtype read_command;

away:
  if
  :: link != current -> link = current; word_epoch = 0
  :: else
  fi;
  atomic { read_epoch = epoch[link]; read_command = command[link] }
  if
  :: read_command == GRANTED && read_epoch != word_epoch -> goto come
  :: read_command == REVOKED && read_epoch != word_epoch ->
     word_epoch = read_epoch;
     goto leave
  :: else
  fi;
  atomic {
    if
    :: read_epoch == epoch[link] && read_command == command[link] ->
       sleeps = true; sleeps_on = link
    :: else
    fi
  }
  !sleeps;
  goto away;

come:
  word_epoch = read_epoch;
  inside = true;
  atomic { seen_epoch[link] = word_epoch; present[link] = true }
work:
  /* Until it finds nothing, which may be never. */
  if
  :: link != current ->
     link = current;
     atomic { read_epoch = epoch[link]; read_command = command[link] }
     word_epoch = read_epoch;
     if
     :: read_command == GRANTED -> goto come
     :: else
     fi
  :: command[link] == REVOKED && epoch[link] == word_epoch
  :: link == current
  fi;
  inside = false;
leave:
  atomic { seen_epoch[link] = word_epoch; present[link] = false }
  goto away
}

#define GONE(slot) (seen_epoch[slot] == epoch[slot] && !present[slot])

proctype Arbiter(byte life) {
  byte slot = life % 2;
  byte pass = 0;
  bool owned = false;
  if
  :: life > 0 ->
     registered[life];
     if
     :: claimed ->
        if
        :: atomic { epoch[slot]++; command[slot] = GRANTED }; owned = true
        :: atomic { epoch[slot]++; command[slot] = REVOKED }
        fi
     :: !claimed ->
        /* It is anybody's. */
        assert(!inside || link == slot)
     fi;
     answered[life] = true
  :: else
  fi;
  do
  :: pass == PASSES -> break
  :: pass < PASSES ->
     pass++;
     if
     :: owned && GONE(slot) -> owned = false; command[slot] = AWAY
     :: !owned ->
        owned = true;
        atomic { epoch[slot]++; command[slot] = GRANTED }
        wake(slot)
     :: owned && command[slot] == GRANTED -> command[slot] = REVOKED; wake(slot)
     :: true
     fi
  :: life < LIVES - 1 -> break
  od;
  if
  :: life < LIVES - 1 -> dead[life] = true
  :: else ->
     over = true;
     do
     :: owned && GONE(slot) && command[slot] != AWAY -> owned = false; command[slot] = AWAY
     od
  fi
}

proctype Registration() {
  byte life = 1;
  byte slot;
  do
  :: life == LIVES -> break
  :: else ->
     dead[life - 1];
     slot = life % 2;
     atomic {
#ifdef NO_CLAIM
       claimed = false
#else
       claimed = (command[1 - slot] == AWAY && present[1 - slot]) ||
                 (command[1 - slot] != AWAY && !GONE(1 - slot))
#endif
     }
     /* Other memories, where the words of the one before the last were. */
     assert(link != slot);
     atomic { epoch[slot] = 0; command[slot] = AWAY; seen_epoch[slot] = 0; present[slot] = false }
     registered[life] = true;
     answered[life];
     current = slot;
#ifdef WAKE_ONCE
     wake(1 - slot);
#endif
#ifndef NO_WAIT
follow:
     if
     :: link == current
#ifndef WAKE_ONCE
     :: atomic { link != current && sleeps -> sleeps = false }; goto follow
#endif
     fi;
#endif
     life++
  od
}

proctype Monitor() {
  timeout;
  assert(over);
  assert(link == current);
  assert(command[current] == AWAY || seen_epoch[current] == epoch[current]);
  assert(inside == present[current]);
  assert(!inside || command[current] == GRANTED)
}

init {
  byte life = 0;
  atomic {
    do
    :: life == LIVES -> break
    :: else -> run Arbiter(life); life++
    od;
    run Worker(); run Registration(); run Monitor()
  }
}
