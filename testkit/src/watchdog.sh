# shellcheck shell=sh
# Outlives the test process just long enough to remove one server.
# Arguments: the server's directory, and the first signal to try on its processes.
# Standard input is a pipe from the test process: its end of file means that the server is no longer wanted.
directory=$1
first_signal=$2

# Processes that work inside the directory; zombies have no working directory and are not found.
list() {
    find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$directory" -o -lname "$directory/*" \) 2>/dev/null |
        tr -dc '0-9\n'
}

send() {
    pids=$(list)
    # shellcheck disable=SC2086 # Many ids, many words.
    [ -z "$pids" ] || kill -s "$1" $pids 2>/dev/null
}

# Polls every 50 ms, at most $1 times, until nothing is left.
wait_until_gone() {
    tries=$1
    while [ -n "$(list)" ] && [ "$tries" -gt 0 ]; do
        sleep 0.05
        tries=$((tries - 1))
    done
}

while read -r _; do :; done

send "$first_signal"
# A paused process acts on a signal only once it continues.
send CONT
wait_until_gone 100
rounds=20
while [ -n "$(list)" ] && [ "$rounds" -gt 0 ]; do
    send KILL
    wait_until_gone 10
    rounds=$((rounds - 1))
done

# A killed PostgreSQL leaves its lock file and with it a shared memory segment, named in line 7.
lock_file=$directory/data/postmaster.pid
if [ -f "$lock_file" ]; then
    segment=$(sed -n '7s/^ *[0-9]* *//p' "$lock_file")
    [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
fi

rm -rf "$directory"
