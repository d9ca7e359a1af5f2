#!/usr/bin/env bash
# A throw-away HDFS cluster for tests: a name node and a data node in one process.
#
#   hdfs.sh run     starts it on free ports of 127.0.0.1, prints its address (hdfs://127.0.0.1:…), and
#                   ends it when stdin is closed; the cluster cannot outlive the test that holds stdin
#
# The line `restart` on stdin stops the data node and starts it anew; `restarted` is printed once files
# can be read and written again.
#
# Anybody may do anything in it. Hadoop's own mini cluster, of the version pinned below, comes through
# Maven into ${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/hdfs on the first call and whenever the pin
# changes; 90 MB.
#
# Needs Java 11 or newer and Maven. Under root the Debian packages default-jdk-headless and maven are
# installed when they are missing; otherwise the script fails and names them.

set -euo pipefail
umask 077

version=3.4.1

say() { echo "hdfs.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

require_programs() {
    command -v javac >/dev/null && command -v mvn >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "javac or mvn is missing: install the packages default-jdk-headless and maven"
    say "installing the packages default-jdk-headless and maven"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        default-jdk-headless maven >&2 || fail "they could not be installed"
}

# Fills $folder with Hadoop and the program that runs it.
make_folder() {
    require_programs
    say "making $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    cat >"$folder/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>thalweg</groupId><artifactId>hdfs</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.hadoop</groupId>
      <artifactId>hadoop-client-minicluster</artifactId>
      <version>$version</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
    (cd "$folder" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=jars >&2) ||
        fail "Hadoop could not be brought"
    # Written last, so a folder that holds it is whole.
    echo "$version" >"$folder/version"
}

# The program that runs it; each text of it is compiled into a folder of its own.
program() {
    cat <<'JAVA'
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

public class Cluster {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        configuration.set("dfs.replication", "1");
        configuration.setBoolean("dfs.permissions.enabled", false);
        MiniDFSCluster cluster =
            new MiniDFSCluster.Builder(configuration, new File(arguments[0])).numDataNodes(1).build();
        cluster.waitActive();
        System.out.println("hdfs://127.0.0.1:" + cluster.getNameNodePort());
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        for (String order = orders.readLine(); order != null; order = orders.readLine()) {
            if (order.equals("restart")) {
                cluster.restartDataNode(0, true);
                cluster.waitActive();
                System.out.println("restarted");
            }
        }
        cluster.shutdown();
        System.exit(0);
    }
}
JAVA
}

make_classes() {
    require_programs
    rm -rf "$classes.new"
    mkdir -p "$classes.new"
    program >"$classes.new/Cluster.java"
    javac -cp "$folder/jars/*" -d "$classes.new" "$classes.new/Cluster.java" >&2 ||
        fail "the program that runs Hadoop does not compile"
    mv "$classes.new" "$classes"
}

[ "${1-}/$#" = run/1 ] || fail "usage: hdfs.sh run"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/hdfs"
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
[ "$(cat "$folder/version" 2>/dev/null || true)" = "$version" ] || make_folder
classes="$folder/classes.$(program | cksum | cut -d ' ' -f 1)"
[ -d "$classes" ] || make_classes
exec 9>&-

data=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-hdfs.XXXXXX")
trap 'rm -rf "$data"' EXIT
trap 'exit 1' INT TERM HUP
java -Xmx512m -cp "$classes:$folder/jars/*" Cluster "$data"
