// newman's reporter for `traffic-probe monitor`: what came of each request, and nothing of any content.
//
// newman's own JSON reporter does not do: it has the content of every answer, and where a script sends requests
// (pm.sendRequest) the last of those takes the place of the request that the script belongs to.
'use strict';

const fs = require('fs');

function path(item) {
    const names = [item.name];
    item.forEachParent({ withRoot: false }, (parent) => names.unshift(parent.name));
    return names.join('/');
}

function message(error) {
    return String((error && (error.message || error.code)) || error);
}

module.exports = function (newman) {
    // By the turn of an item: an item may have several.
    const turns = new Map();
    const turn = ({ cursor, item }) => {
        if (!turns.has(cursor.ref)) {
            turns.set(cursor.ref, { request: path(item), failures: [], assertions: 0 });
        }
        return turns.get(cursor.ref);
    };

    newman.on('beforeItem', (error, event) => turn(event));
    newman.on('request', (error, event) => {
        // One that a script has sent.
        if (event.cursor.scriptId) { return; }
        if (error) { turn(event).failures.push({ name: 'no answer', message: message(error) }); }
        if (event.response) {
            turn(event).status = event.response.code;
            turn(event).milliseconds = event.response.responseTime;
        }
    });
    newman.on('script', (error, event) => {
        if (error) { turn(event).failures.push({ name: 'script', message: message(error) }); }
    });
    newman.on('assertion', (error, event) => {
        if (event.skipped) { return; }
        turn(event).assertions += 1;
        if (error) { turn(event).failures.push({ name: String(event.assertion), message: message(error) }); }
    });
    newman.on('beforeDone', (error) => {
        const report = { error: error ? message(error) : null, requests: [...turns.values()] };
        fs.writeFileSync(process.env.TRAFFIC_PROBE_MONITOR_REPORT, JSON.stringify(report));
    });
};
